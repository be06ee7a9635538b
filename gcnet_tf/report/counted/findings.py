"""Findings about a model on a split: one evaluation, and more counted beside it."""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.records.damage import Damage, warn_of
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.metrics import ConfusionMatrix, Metrics
from gcnet_tf.report.counted.calibration import Calibration
from gcnet_tf.report.counted.objects import ObjectSizes
from gcnet_tf.runtime import Predictor

# Number of images whose probabilities are looked at, or up to twice as many. They take
# another run of the network, and calibration is known well from fewer images than the
# metrics.
_CALIBRATED = 100


class PackedLabels:
    """Class ids uint8 `(height, width)` of an image, compressed.

    A page shows few images, and only the end of a split tells which.
    """

    def __init__(self, labels: np.ndarray):
        self._shape = labels.shape
        self._bytes = zlib.compress(labels.tobytes(), level=1)

    def unpacked(self) -> np.ndarray:
        """Returns the class ids."""
        values = np.frombuffer(zlib.decompress(self._bytes), np.uint8)
        return values.reshape(self._shape)


@dataclass
class Findings:
    """The findings about a model on a split.

    Attributes:
        metrics: those of `evaluate`; None without a truth.
        counts: confusion matrix `(num_classes, num_classes)`: truth, prediction.
        calibration: None where it was not measured.
        objects: errors by the size of objects.
        sizes: (height, width) of each image.
        errors: by image, share of the labelled pixels with another class; without a
            truth one minus the mean probability; NaN where neither is known.
        labels: predictions of each image.
        apart: by image, share of the pixels that the first model labels otherwise.
        seconds: mean time of a prediction, without those that come first, which build
            the graph; NaN where there are no others.
        predicted: pixels by predicted class, `(num_classes,)`.
    """

    metrics: Metrics | None
    counts: np.ndarray
    calibration: Calibration | None
    objects: ObjectSizes
    sizes: list[tuple[int, int]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    labels: list[PackedLabels] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    seconds: float = float("nan")

    @property
    def predicted(self) -> np.ndarray:
        return self.counts.sum(axis=0)


class Collector:
    """Counts beside an evaluation, image by image, what a page shows."""

    def __init__(
        self, predictor: Predictor, num_images: int, first: Sequence[PackedLabels]
    ):
        """Begins.

        Args:
            predictor: the model.
            num_images: number of images of the split.
            first: predictions of the first model; empty for that one.
        """
        self._predictor = predictor
        self._step = max(num_images // _CALIBRATED, 1)
        self._first = first
        self.reset()

    def reset(self) -> None:
        """Forgets all images."""
        num_classes = len(self._predictor.classes)
        self.matrix = ConfusionMatrix(num_classes)
        has_logits = self._predictor.network.logits is not None
        self._calibration = Calibration() if has_logits else None
        self.findings = Findings(
            None, self.matrix.counts, self._calibration, ObjectSizes()
        )
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._own_seconds = self._begun = 0.0

    def add(
        self, index: int, image: np.ndarray, truth: np.ndarray, labels: np.ndarray
    ) -> None:
        """Adds an image, as a hook of `evaluate`."""
        start = time.perf_counter()
        self._begun = self._begun or start
        findings = self.findings
        self.matrix.update(truth, labels)
        is_labelled = truth != IGNORE_LABEL
        num_labelled = int(is_labelled.sum())
        num_wrong = int(((labels != truth) & is_labelled).sum())
        findings.errors.append(num_wrong / num_labelled if num_labelled else np.nan)
        findings.objects.update(truth, labels)
        if self._calibration is not None and index % self._step == 0:
            self._calibrate(image, truth)
        self._keep(index, labels)
        self._own_seconds += time.perf_counter() - start

    def finish(self) -> None:
        """Computes what the last image leaves, and the time of a prediction."""
        if not self.findings.sizes:
            return
        seconds = time.perf_counter() - self._begun - self._own_seconds
        if self._waiting:
            self._compute_probabilities()
        together = self._predictor.images_at_once(self.findings.sizes[0])
        others = len(self.findings.sizes) - together
        if others > 0:
            self.findings.seconds = seconds / others

    def _keep(self, index: int, labels: np.ndarray) -> None:
        self.findings.sizes.append(labels.shape)
        self.findings.labels.append(PackedLabels(labels))
        if self._first:
            others = self._first[index].unpacked()
            self.findings.apart.append(float((labels != others).mean()))

    def _calibrate(self, image: np.ndarray, truth: np.ndarray) -> None:
        """Adds an image to those whose probabilities are computed together."""
        size = image.shape[:2]
        if self._waiting and self._waiting[0][0].shape[:2] != size:
            self._compute_probabilities()
        self._waiting.append((image, truth))
        if len(self._waiting) >= self._predictor.images_at_once(size):
            self._compute_probabilities()

    def _compute_probabilities(self) -> None:
        images, truths = zip(*self._waiting)
        self._waiting = []
        try:
            probabilities = self._predictor.probabilities(np.stack(images))
        except UserError:  # too large for an array of probabilities
            self._calibration = self.findings.calibration = None
        if self._calibration is not None:
            for values, truth in zip(probabilities, truths):
                self._calibration.update(values, truth)

    def compare_with(self, first: Sequence[PackedLabels]) -> None:
        """Compares the next images with the predictions of the first model.

        Those of this very collector are ignored.
        """
        if first is not self.findings.labels:
            self._first = first

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        """Predicts an image without a truth, RGB uint8 `(height, width, 3)`.

        Returns:
            Its class ids, and one minus the mean probability; NaN for a model that
            gives labels only.

        Raises:
            UserError: when the model cannot segment it.
        """
        if self._predictor.network.logits is None:
            return self._predictor.labels(image), np.nan
        probabilities = self._predictor.probabilities(image)
        labels = probabilities.argmax(axis=-1).astype(np.uint8)
        return labels, 1 - float(probabilities.max(axis=-1).mean())

    def add_photo(self, index: int, labels: np.ndarray, error: float) -> None:
        """Adds an image without a truth, with the results of `predict`."""
        self.findings.counts[0] += np.bincount(
            labels.ravel(), minlength=len(self._predictor.classes)
        )
        self.findings.errors.append(error)
        self._keep(index, labels)


def find(
    predictor: Predictor,
    config: Config,
    split: str,
    first: Sequence[PackedLabels] = (),
) -> Findings:
    """Evaluates a model on a split, and counts what a page shows.

    Args:
        predictor: the model.
        config: names the records.
        split: the split.
        first: predictions of the first model, to compare with; empty for that one.

    Raises:
        UserError: as `evaluate`.
    """
    manifest = read_manifest(config.data.records, split, check_files=False)
    collector = Collector(predictor, manifest.num_samples, first)

    def begin_again(damaged: list[Damage]) -> None:
        warn_of(damaged)
        collector.reset()

    metrics = evaluate(
        predictor, config, split, on_sample=collector.add, on_damage=begin_again
    )
    collector.finish()
    collector.findings.metrics = metrics
    return collector.findings
