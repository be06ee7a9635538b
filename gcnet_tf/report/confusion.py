"""The confusion matrix of a page: its largest entries as a list, and the whole."""

from typing import NamedTuple

import numpy as np

from gcnet_tf.report.pictures import tinted_png

# Up to this number of classes the matrix is a table, above it a picture.
MOST_CELLS = 24
# Up to this number the table has numbers in it.
MOST_NUMBERS = 10
_LISTED = 12
_RIGHT, _WRONG = (63, 132, 173), (214, 84, 62)
# Lets small shares be seen: a hundredth has a fifth of the colour.
_GAMMA = 0.35


class Confusion(NamedTuple):
    """Pixels of one class that are predicted as another.

    Attributes:
        truth, prediction: numbers of the classes.
        pixels: number of pixels.
        of_class: their share of the pixels of the true class.
        of_errors: their share of all wrong pixels.
    """

    truth: int
    prediction: int
    pixels: int
    of_class: float
    of_errors: float


class Cell(NamedTuple):
    """An entry of the matrix: a share of its row, and the opacity that shows it."""

    share: float
    opacity: float


def largest_confusions(counts: np.ndarray, count: int = _LISTED) -> list[Confusion]:
    """Lists the entries off the diagonal with most pixels.

    Args:
        counts: `(classes, classes)`: truth, prediction.
        count: greatest number of entries.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    total, labelled = wrong.sum(), counts.sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = (divmod(int(place), len(counts)) for place in order)
    return [
        Confusion(
            truth, prediction, int(wrong[truth, prediction]),
            float(wrong[truth, prediction] / labelled[truth]),
            float(wrong[truth, prediction] / total),
        )
        for truth, prediction in pairs
        if wrong[truth, prediction]
    ]  # fmt: skip


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Divides each row by its sum; rows of classes without a pixel are NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def cells(counts: np.ndarray) -> list[list[Cell]]:
    """Returns the matrix as rows of a table."""
    shares = row_shares(counts)
    return [
        [Cell(float(share), float(opacity)) for share, opacity in zip(*rows)]
        for rows in zip(shares, _opacities(shares))
    ]


def picture(counts: np.ndarray) -> str:
    """Returns the matrix as a data address: a pixel for each entry."""
    return tinted_png(_opacities(row_shares(counts)), _RIGHT, _WRONG)


def _opacities(shares: np.ndarray) -> np.ndarray:
    return np.nan_to_num(shares, nan=0.0) ** _GAMMA
