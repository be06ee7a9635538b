"""Running a network on an image of any size, with numpy alone.

The functions take `predict`, from RGB images `(batch, height, width, 3)` to logits
`(batch, height, width, num_classes)`, whatever computes it. `predict` puts them
together.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def keep_ratio_size(
    height: int,
    width: int,
    scale: tuple[int, int],
    fit: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """The (height, width) an image is resized to without changing its shape.

    The larger number of `scale` bounds the long side, the smaller one the short side,
    and the image is made as large as that allows, also when that enlarges it. `fit` is
    a (height, width) that it has to fit into as well. At least 1 each, however thin the
    image.
    """
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    if fit is not None:
        factor = min(factor, fit[0] / height, fit[1] / width)
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def windows(
    height: int, width: int, window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each window, in reading order.

    The last window of a row or column is moved back to end at the border, and an image
    smaller than the window gives a smaller window.
    """
    for rows in _spans(height, window[0], stride[0]):
        for columns in _spans(width, window[1], stride[1]):
            yield rows, columns


def slide(
    predict: Predict,
    images: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
    at_once: int = 1,
) -> np.ndarray:
    """Averages the logits of overlapping windows, `at_once` of them shown together."""
    height, width = images.shape[1:3]
    places = list(windows(height, width, window, stride))
    total = None
    count = np.zeros((height, width, 1), np.float32)
    for first in range(0, len(places), at_once):
        # All windows have the same size.
        seen = places[first : first + at_once]
        logits = predict(np.concatenate([images[:, *place] for place in seen]))
        for place, one in zip(seen, np.split(logits, len(seen))):
            if total is None:
                shape = (len(one), height, width, one.shape[-1])
                total = np.zeros(shape, one.dtype)
            total[:, *place] += one
            count[place] += 1
    assert total is not None  # there is always one window
    total /= count
    return total


def tiled(
    predict_labels: Predict,
    images: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
) -> np.ndarray:
    """Labels of overlapping windows, of which each keeps what is nearest to it.

    Neighbours meet in the middle of their overlap: what they see near a border of
    theirs, without its surroundings, is left to the other one.
    """
    found = np.empty(images.shape[:-1], np.uint8)
    height, width = images.shape[1:3]
    for rows, kept_rows in _tiles(height, window[0], stride[0]):
        for columns, kept_columns in _tiles(width, window[1], stride[1]):
            labels = predict_labels(images[:, rows, columns])
            found[:, kept_rows, kept_columns] = labels[
                :,
                kept_rows.start - rows.start : kept_rows.stop - rows.start,
                kept_columns.start - columns.start : kept_columns.stop - columns.start,
            ]
    return found


def scales_of(scale: tuple[int, int], ratios: Iterable[float]) -> list[tuple[int, int]]:
    """`scale` times each ratio, rounded down as mmsegmentation 0.x does."""
    return [(int(scale[0] * ratio), int(scale[1] * ratio)) for ratio in ratios]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _spans(length: int, side: int, step: int) -> list[slice]:
    count = max(length - side + step - 1, 0) // step + 1
    stops = [min(index * step + side, length) for index in range(count)]
    return [slice(max(stop - side, 0), stop) for stop in stops]


def _tiles(length: int, side: int, step: int) -> Iterator[tuple[slice, slice]]:
    """Each span, and the part of it that is kept: together every place once."""
    spans = _spans(length, side, step)
    borders = [(one.stop + next_.start) // 2 for one, next_ in zip(spans, spans[1:])]
    kept = [slice(*pair) for pair in zip([0, *borders], [*borders, length])]
    return zip(spans, kept)
