"""Intersection over union and pixel accuracy, counted exactly."""

from dataclasses import dataclass

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL


@dataclass(frozen=True)
class Metrics:
    """Metrics of a segmentation as fractions in [0, 1]; NaN for a class without pixels.

    Attributes:
        iou: per class, intersection over union.
        accuracy: per class, share of its pixels that are predicted right.
        miou, macc: means over the classes that are not NaN.
        aacc: share of all labelled pixels that are predicted right.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    miou: float
    macc: float
    aacc: float

    def to_dict(self, classes: tuple[str, ...]) -> dict:
        """Returns the metrics for a JSON file, unrounded; NaN becomes None."""

        def or_none(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        return {
            "mIoU": or_none(self.miou),
            "mAcc": or_none(self.macc),
            "aAcc": or_none(self.aacc),
            "classes": {
                name: {"IoU": or_none(iou), "Acc": or_none(accuracy)}
                for name, iou, accuracy in zip(classes, self.iou, self.accuracy)
            },
        }


class ConfusionMatrix:
    """A confusion matrix: counts of (label, prediction) pairs, in constant memory.

    A class in neither labels nor predictions has no IoU and is left out of the mean. A
    class that is predicted but never labelled has IoU 0 and no accuracy, as in the
    reference.
    """

    def __init__(self, num_classes: int):
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def reset(self) -> None:
        """Forgets all images."""
        self.counts = np.zeros_like(self.counts)

    def update(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Adds an image: integer arrays of one shape. Pixels labelled 255 do not count.

        Raises:
            ValueError: when the shapes differ, or an id is not a class.
        """
        if labels.shape != predictions.shape:
            raise ValueError(
                "labels and predictions must have the same shape. "
                f"Received: {labels.shape} and {predictions.shape}"
            )
        labels, predictions = _bytes("label", labels), _bytes("prediction", predictions)
        # Counts all pairs of bytes: to mask ignored pixels first would take longer.
        pairs = np.bincount(
            (labels.astype(np.uint16) << 8 | predictions).ravel(), minlength=2**16
        ).reshape(256, 256)
        pairs[IGNORE_LABEL] = 0
        num_classes = len(self.counts)
        for role, counts in (
            ("label", pairs.sum(axis=1)),
            ("prediction", pairs.sum(axis=0)),
        ):
            if counts[num_classes:].any():
                ids = np.flatnonzero(counts)
                raise ValueError(
                    f"{role} ids must be 0 to {num_classes - 1} (or 255 in labels). "
                    f"Received: {ids.min()} to {ids.max()}"
                )
        self.counts += pairs[:num_classes, :num_classes]

    def metrics(self) -> Metrics:
        """Computes the metrics over everything added so far."""
        right = np.diag(self.counts).astype(np.float64)
        labelled = self.counts.sum(axis=1)
        predicted = self.counts.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = right / (labelled + predicted - right)
            accuracy = right / labelled
            aacc = right.sum() / np.float64(labelled.sum())
        return Metrics(
            iou=iou,
            accuracy=accuracy,
            miou=_mean_of_numbers(iou),
            macc=_mean_of_numbers(accuracy),
            aacc=float(aacc),
        )


def _bytes(role: str, ids: np.ndarray) -> np.ndarray:
    if ids.dtype != np.uint8 and ids.size and not 0 <= ids.min() <= ids.max() <= 255:
        raise ValueError(
            f"{role} ids must be 0 to 255. Received: {ids.min()} to {ids.max()}"
        )
    return ids.astype(np.uint8, copy=False)


def _mean_of_numbers(values: np.ndarray) -> float:
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


def format_table(metrics: Metrics, classes: tuple[str, ...]) -> str:
    """Formats the metrics as a table in percent, a line per class."""
    width = max(len("class"), *(len(name.strip()) for name in classes))
    lines = [f"{'class':<{width}}     IoU     Acc"]
    for name, iou, accuracy in zip(classes, metrics.iou, metrics.accuracy):
        lines.append(
            f"{name.strip():<{width}}  {100 * iou:6.2f}  {100 * accuracy:6.2f}"
        )
    lines.append("")
    lines.append(
        f"mIoU {100 * metrics.miou:.2f}   mAcc {100 * metrics.macc:.2f}   "
        f"aAcc {100 * metrics.aacc:.2f}"
    )
    return "\n".join(lines)
