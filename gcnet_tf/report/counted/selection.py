"""The choice of images that a page shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_SHOWN = 10


@dataclass(frozen=True)
class Selection:
    """Numbers of images in their split.

    Attributes:
        worst: those with the largest error, the largest first.
        typical: those with an error nearest to the median, the smallest error first.
        apart: those on which models differ most, the largest difference first.
    """

    worst: list[int]
    typical: list[int]
    apart: list[int]

    @property
    def all(self) -> list[int]:
        """The numbers in order, each once."""
        return sorted({*self.worst, *self.typical, *self.apart})


def select(
    errors: np.ndarray, apart: np.ndarray | None, count: int = NUM_SHOWN
) -> Selection:
    """Chooses images.

    Args:
        errors: by image, mean over the models; NaN where unknown. Where it is unknown
            everywhere, images spread over the split stand for typical ones.
        apart: by image, the largest share of pixels that two models label differently;
            None for one model.
        count: greatest number of images of each kind.
    """
    known = np.flatnonzero(~np.isnan(errors))
    if not known.size:
        step = max(len(errors) // count, 1)
        typical = list(range(0, len(errors), step))[:count]
        return Selection([], typical, _largest(apart, count))
    # Of a few images, half are the worst.
    worst = _largest(errors, min(count, -(-known.size // 2)))
    rest = [index for index in known if index not in worst]
    middle = np.median(errors[known])
    near = sorted(rest, key=lambda index: abs(errors[index] - middle))[:count]
    typical = sorted(map(int, near), key=lambda index: errors[index])
    return Selection(worst, typical, _largest(apart, count))


def _largest(values: np.ndarray | Sequence[float] | None, count: int) -> list[int]:
    """Lists where the largest positive values are; NaN is none."""
    if values is None:
        return []
    known = np.nan_to_num(np.asarray(values, np.float64), nan=0.0)
    order = np.argsort(-known, kind="stable")[:count]
    return [int(index) for index in order if known[index] > 0]
