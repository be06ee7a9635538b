"""Calibration: how often a prediction of a given probability is right."""

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL

NUM_BINS = 15


class Calibration:
    """Counts of pixels by the probability of their predicted class.

    The expected calibration error is that of Guo et al. (arXiv 1706.04599): the mean
    difference of probability and accuracy over bins of one width, weighted by pixels.

    Attributes:
        images: number of images that were added.
        counts: labelled pixels by bin, int64 `(NUM_BINS,)`.
        right: those that are predicted right.
        confidence: sum of the probabilities of the predicted class, float64.
    """

    def __init__(self) -> None:
        self.images = 0
        self.counts = np.zeros(NUM_BINS, np.int64)
        self.right = np.zeros(NUM_BINS, np.int64)
        self.confidence = np.zeros(NUM_BINS)

    def update(self, probabilities: np.ndarray, truth: np.ndarray) -> None:
        """Adds an image.

        Args:
            probabilities: `(height, width, num_classes)` in [0, 1].
            truth: class ids `(height, width)`; 255 where not labelled.
        """
        labelled = truth != IGNORE_LABEL
        largest = probabilities.max(axis=-1)[labelled].astype(np.float64)
        is_right = probabilities.argmax(axis=-1)[labelled] == truth[labelled]
        # The last bin holds 1 as well, and what rounding has put above it.
        bins = np.minimum((largest * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        self.counts += np.bincount(bins, minlength=NUM_BINS)
        self.right += np.bincount(bins[is_right], minlength=NUM_BINS)
        self.confidence += np.bincount(bins, largest, minlength=NUM_BINS)
        self.images += 1

    def points(self) -> list[tuple[float, float, float]]:
        """Lists (mean probability, accuracy, share of the pixels) of bins in use."""
        total = self.counts.sum()
        return [
            (confidence / count, right / count, count / total)
            for count, right, confidence in zip(
                self.counts, self.right, self.confidence
            )
            if count
        ]

    def error(self) -> float:
        """Computes the expected calibration error in [0, 1]; NaN without pixels."""
        points = self.points()
        if not points:
            return float("nan")
        return float(sum(share * abs(p - right) for p, right, share in points))

    def confidence_gap(self) -> float:
        """Computes mean probability minus accuracy; positive: too sure of itself."""
        total = self.counts.sum()
        if not total:
            return float("nan")
        return float((self.confidence.sum() - self.right.sum()) / total)
