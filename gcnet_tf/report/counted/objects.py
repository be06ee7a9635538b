"""Errors by the size of objects: connected regions of one class in the truth."""

from typing import NamedTuple

import cv2
import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL

# Bounds of the bins: the side in pixels of a square of a region's area.
SIDES = (0, 8, 16, 32, 64, 128, 256, 512)
_BOUNDS = np.square(SIDES[1:])
# An object counts as found from this share of its pixels on.
_FOUND = 0.5


class SizeBin(NamedTuple):
    """Objects of about one size.

    Attributes:
        title: the range of their sides in pixels, in words.
        number: number of objects.
        missed: mean over the objects of the share of pixels with another class.
        lost: share of the objects of which less than half has its class.
    """

    title: str
    number: int
    missed: float
    lost: float


class ObjectSizes:
    """Sums over the objects of a split by their size."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(SIDES), np.int64)
        self._missed = np.zeros(len(SIDES))
        self._lost = np.zeros(len(SIDES), np.int64)

    def update(self, truth: np.ndarray, labels: np.ndarray) -> None:
        """Adds an image: class ids `(height, width)`, 255 where not labelled."""
        is_right = truth == labels
        present = np.flatnonzero(np.bincount(truth.ravel(), minlength=256))
        for index in present[present != IGNORE_LABEL]:
            mask = cv2.compare(truth, int(index), cv2.CMP_EQ)
            number, regions = cv2.connectedComponents(mask, connectivity=8)
            # Region 0 is all that has another class.
            areas = np.bincount(regions.ravel(), minlength=number)[1:]
            right = np.bincount(regions[is_right], minlength=number)[1:]
            missed = 1 - right / areas
            bins = np.searchsorted(_BOUNDS, areas, side="right")
            self._counts += np.bincount(bins, minlength=len(SIDES))
            self._missed += np.bincount(bins, missed, minlength=len(SIDES))
            lost = bins[missed > 1 - _FOUND]
            self._lost += np.bincount(lost, minlength=len(SIDES))

    def bins(self) -> list[SizeBin]:
        """Lists the bins that hold an object, from small to large."""
        titles = [f"{low}–{high}" for low, high in zip(SIDES, SIDES[1:])]
        titles.append(f"over {SIDES[-1]}")
        return [
            SizeBin(title, int(count), float(missed / count), float(lost / count))
            for title, count, missed, lost in zip(
                titles, self._counts, self._missed, self._lost
            )
            if count
        ]
