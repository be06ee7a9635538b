"""Measuring of exported files: each runs on the inputs of the trained Keras model."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.prepare import require_records
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.evaluation.agreement import (
    EXACT,
    exact_products,
    log_probabilities,
    log_probability_difference,
)
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.export.accuracy.limits import Accuracy
from gcnet_tf.export.accuracy.samples import SPLIT, Sample, read_samples
from gcnet_tf.models import Segmentor
from gcnet_tf.models.trained import trained_function
from gcnet_tf.runtime import open_network
from gcnet_tf.runtime.manifest import read_manifest, write_manifest
from gcnet_tf.runtime.predict import Network
from gcnet_tf.weights.files import weights_hash

# Number of images whose logits are compared; of the others only the labels are.
_LOGIT_IMAGES = 4
# Largest number of groups of images that measure the error of a drop.
_GROUPS = 50


def measure(
    paths: Sequence[Path],
    model: Segmentor,
    config: Config,
    size: tuple[int, int],
    count: int,
) -> tuple[dict[Path, Accuracy], list[str]]:
    """Runs every file on validation images and writes the result into its manifest.

    As in the runtime, images are scaled so that they fit into `size`, and padded.

    Args:
        paths: exported files.
        model: the model that was exported.
        config: its configuration.
        size: (height, width) of the inputs of files that accept any size.
        count: largest number of images, spread over the split.

    Returns:
        The accuracy of each path, and a sentence for each that could not be measured.

    Raises:
        UserError: when there are no records of the split, or they are outdated.
    """
    require_records(config, [SPLIT], "the configuration")
    accuracies, failures = {}, []
    sizes = {path: read_manifest(path).size or size for path in paths}
    predict, current = trained_function(model), weights_hash(model)
    for input_size in sorted(set(sizes.values())):
        samples = list(
            read_samples(config, model.backbone.padding_colour, input_size, count)
        )
        reference = _Reference(predict, model.num_classes, samples)
        for path in (path for path in paths if sizes[path] == input_size):
            try:
                accuracies[path] = _measure(path, samples, reference, current)
            # A file that an interpreter does not run leaves the others.
            except Exception as error:
                failures.append(f"{path.name} was not measured: {first_line(error)}")
    return {path: accuracies[path] for path in paths if path in accuracies}, failures


class _Score:
    """mIoU of predictions, also without each of some groups of images."""

    def __init__(self, num_classes: int, num_images: int):
        groups = range(min(num_images, _GROUPS))
        self._groups = [ConfusionMatrix(num_classes) for _ in groups]
        self._num_images = 0

    def update(self, label: np.ndarray, predicted: np.ndarray) -> None:
        """Adds an image."""
        group = self._groups[self._num_images % len(self._groups)]
        group.update(label, predicted)
        self._num_images += 1

    def mious(self) -> np.ndarray:
        """Computes the mIoU of all images, and without each group in turn."""
        total = ConfusionMatrix(len(self._groups[0].counts))
        every = np.sum([group.counts for group in self._groups], axis=0)
        mious = []
        nothing = np.zeros_like(every)
        for left_out in [nothing, *(group.counts for group in self._groups)]:
            total.counts = every - left_out
            mious.append(total.metrics().miou)
        return np.array(mious)


class _Reference:
    """The trained model's predictions of the samples, as far as they are compared."""

    def __init__(
        self,
        predict: Callable[[np.ndarray], np.ndarray],
        num_classes: int,
        samples: list[Sample],
    ):
        score = _Score(num_classes, len(samples))
        self.num_classes = num_classes
        self.logits: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.decided: list[np.ndarray] = []
        for sample in _bar(samples, "Keras model"):
            with exact_products():
                logits = predict(sample.image[None])[0]
            if len(self.logits) < _LOGIT_IMAGES:
                self.logits.append(logits)
            self.labels.append(logits.argmax(axis=-1).astype(np.uint8))
            self.decided.append(_decided(logits))
            score.update(sample.label, self.labels[-1])
        self.mious = score.mious()


def _decided(logits: np.ndarray) -> np.ndarray:
    """Tells where the two largest logits differ by more than float32 may round."""
    second, first = np.moveaxis(np.partition(logits, -2, axis=-1)[..., -2:], -1, 0)
    scale = max(1.0, float(np.abs(log_probabilities(logits)).max()))
    return first - second > 2 * EXACT * scale


def _measure(
    path: Path, samples: list[Sample], reference: _Reference, weights: str
) -> Accuracy:
    network, manifest = open_network(path)
    if manifest.weights_sha256 != weights:
        raise UserError("it holds other weights than this model. Export it again.")
    score = _Score(reference.num_classes, len(samples))
    equal = total = 0
    differences = []
    for index, sample in enumerate(_bar(samples, path.name)):
        labels, logits = _run(network, sample.image[None], index < _LOGIT_IMAGES)
        if logits is not None and index < _LOGIT_IMAGES:
            differences.append(
                log_probability_difference(
                    logits[sample.valid], reference.logits[index][sample.valid]
                )
            )
        is_equal = labels == reference.labels[index]
        decided = reference.decided[index][sample.valid]
        equal += int(is_equal[sample.valid][decided].sum())
        total += int(decided.sum())
        score.update(sample.label, labels)
    mious = score.mious()
    accuracy = Accuracy(
        images=len(samples),
        logit_images=len(differences) or min(len(samples), _LOGIT_IMAGES),
        size=samples[0].label.shape,
        agreement=equal / total if total else 1.0,
        difference=max(differences, default=None),
        miou=float(mious[0]),
        keras_miou=float(reference.mious[0]),
        drop_error=_error(reference.mious[1:] - mious[1:]),
    )
    record = {"split": SPLIT, **dataclasses.asdict(accuracy)}
    write_manifest(path, dataclasses.replace(manifest, accuracy=record))
    return accuracy


def _run(
    network: Network, images: np.ndarray, with_logits: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Computes the labels of one image, and the logits where they are wanted."""
    logits = None
    with exact_products():
        if network.logits and (with_logits or not network.labels):
            logits = network.logits(images)[0]
        if network.labels:
            return network.labels(images)[0], logits
    assert logits is not None
    return logits.argmax(axis=-1).astype(np.uint8), logits


def _error(drops: np.ndarray) -> float | None:
    """Computes the jackknife's standard error from the drops without each group."""
    drops = drops[~np.isnan(drops)]
    if len(drops) < 2:
        return None
    spread = drops - drops.mean()
    return float(np.sqrt((len(drops) - 1) / len(drops) * (spread**2).sum()))


def _bar(samples: list[Sample], name: str) -> Iterable[Sample]:
    return tqdm(samples, desc=f"check {name}", unit="img", leave=False, disable=None)
