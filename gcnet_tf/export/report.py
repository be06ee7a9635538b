"""The accuracy report: each exported file compared with the Keras model."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.prepare import require_records
from gcnet_tf.data.records.shards import read_manifest as read_record_manifest
from gcnet_tf.data.stream.pipeline import evaluation_dataset
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.runtime import open_network
from gcnet_tf.runtime.images import padded
from gcnet_tf.runtime.manifest import megabytes, read_manifest, write_manifest
from gcnet_tf.runtime.resize import resize_image
from gcnet_tf.runtime.windows import keep_ratio_size

SPLIT = "val"
# Number of images whose logits are compared; of the others only the labels are.
_LOGIT_IMAGES = 4


class Limit(NamedTuple):
    """The largest loss that a precision allows; None where there is no limit."""

    agreement: float | None = None
    """Smallest share of equal pixels."""
    drop: float | None = None
    """Largest loss of mIoU."""
    difference: float | None = None
    """Largest difference of a logit."""


LIMITS = {
    "fp32": Limit(agreement=0.9999, difference=1e-3),
    "fp16": Limit(drop=0.001),
    "bf16": Limit(agreement=0.995, drop=0.002),
    "dynamic": Limit(drop=0.003),
    "int8": Limit(drop=0.01),
}


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """A comparison of a file with the Keras model in float32 on the same inputs.

    Attributes:
        images: number of images.
        size: (height, width) of the inputs.
        agreement: share of the pixels, without padding, that have the same label.
        difference: largest difference of a logit, up to one added constant per pixel;
            None for files that give labels only.
        miou, keras_miou: mIoU of the two against the truth, at the inputs' size.
    """

    images: int
    size: tuple[int, int]
    agreement: float
    difference: float | None
    miou: float
    keras_miou: float

    @property
    def drop(self) -> float:
        """Loss of mIoU of the file."""
        return self.keras_miou - self.miou

    def excess(self, limit: Limit) -> str | None:
        """Describes what exceeds the limit, as part of a sentence; None for nothing."""
        if limit.agreement is not None and self.agreement < limit.agreement:
            return f"{self.agreement:.3%} equal pixels, allowed {limit.agreement:.2%}"
        if limit.drop is not None and self.drop > limit.drop:
            return f"mIoU lower by {self.drop:.4f}, allowed {limit.drop}"
        if limit.difference is None or self.difference is None:
            return None
        if self.difference > limit.difference:
            return f"logits off by {self.difference:.1e}, allowed {limit.difference}"
        return None


class Sample(NamedTuple):
    """An input of the network, and its truth: 255 where padded or not labelled."""

    image: np.ndarray
    label: np.ndarray
    valid: tuple[slice, slice]


def measure(
    paths: Sequence[Path],
    model: Segmentor,
    config: Config,
    size: tuple[int, int],
    count: int,
) -> dict[Path, Accuracy]:
    """Runs every file on validation images and writes the result into its manifest.

    As in the runtime, images are scaled so that they fit into `size`, and padded.

    Args:
        paths: exported files.
        model: the model that was exported.
        config: its configuration.
        size: (height, width) of the inputs of files that accept any size.
        count: largest number of images, spread over the split.

    Returns:
        The accuracy of each path.

    Raises:
        UserError: when there are no records of the split, or they are outdated.
    """
    require_records(config, [SPLIT], "the configuration")
    accuracies = {}
    sizes = {path: read_manifest(path).size or size for path in paths}
    for input_size in sorted(set(sizes.values())):
        samples = list(
            _samples(config, model.backbone.padding_colour, input_size, count)
        )
        reference = _Reference(model, samples)
        for path in (path for path in paths if sizes[path] == input_size):
            accuracies[path] = _measure(path, samples, reference)
    return {path: accuracies[path] for path in paths}


def table(accuracies: dict[Path, Accuracy]) -> str:
    """Formats the report for people."""
    first = next(iter(accuracies.values()))
    lines = [
        f"Beside the Keras model in float32 (mIoU {first.keras_miou:.4f}), on "
        f"{first.images} images of {SPLIT} at the input's size:",
        f"{'file':28}{'MB':>7}{'equal pixels':>15}{'logits':>10}{'mIoU':>9}{'drop':>9}",
    ]
    for path, row in accuracies.items():
        difference = "" if row.difference is None else f"{row.difference:.1e}"
        lines.append(
            f"{path.name:28}{megabytes(path):7.1f}{row.agreement:15.3%}"
            f"{difference:>10}{row.miou:9.4f}{row.drop:9.4f}"
        )
    return "\n".join(lines)


def excesses(accuracies: dict[Path, Accuracy]) -> list[str]:
    """Lists a sentence for each file that lost more than its precision allows."""
    sentences = []
    for path, accuracy in accuracies.items():
        precision = read_manifest(path).precision
        excess = accuracy.excess(LIMITS[precision])
        if excess:
            sentences.append(f"{path.name} has lost too much: {excess}.")
    return sentences


class _Reference:
    """The Keras model's predictions of the samples, as far as they are compared."""

    def __init__(self, model: Segmentor, samples: list[Sample]):
        predict = inference_function(model)
        matrix = ConfusionMatrix(model.num_classes)
        self.logits: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        for sample in _bar(samples, "Keras model"):
            logits = predict(tf.constant(sample.image[None])).numpy()[0]
            if len(self.logits) < _LOGIT_IMAGES:
                self.logits.append(logits)
            self.labels.append(logits.argmax(axis=-1).astype(np.uint8))
            matrix.update(sample.label, self.labels[-1])
        self.miou = matrix.metrics().miou
        self.num_classes = model.num_classes


def _measure(path: Path, samples: list[Sample], reference: _Reference) -> Accuracy:
    network, manifest = open_network(path)
    matrix = ConfusionMatrix(reference.num_classes)
    equal = total = 0
    difference = None
    for index, sample in enumerate(_bar(samples, path.name)):
        images = sample.image[None]
        logits = None
        if network.logits and (index < _LOGIT_IMAGES or not network.labels):
            logits = network.logits(images)[0]
        if network.labels:
            labels = network.labels(images)[0]
        else:
            assert logits is not None
            labels = logits.argmax(axis=-1).astype(np.uint8)
        if logits is not None and index < _LOGIT_IMAGES:
            sample_difference = _difference(
                logits, reference.logits[index], sample.valid
            )
            difference = max(difference or 0.0, sample_difference)
        is_equal = (labels == reference.labels[index])[sample.valid]
        equal, total = equal + int(is_equal.sum()), total + is_equal.size
        matrix.update(sample.label, labels)
    accuracy = Accuracy(
        images=len(samples),
        size=samples[0].label.shape,
        agreement=equal / total,
        difference=difference,
        miou=float(matrix.metrics().miou),
        keras_miou=float(reference.miou),
    )
    record = {"split": SPLIT, **dataclasses.asdict(accuracy)}
    write_manifest(path, dataclasses.replace(manifest, accuracy=record))
    return accuracy


def _difference(
    logits: np.ndarray, expected: np.ndarray, valid: tuple[slice, slice]
) -> float:
    """Returns the largest difference of logits, up to one added constant per pixel."""
    apart = logits[valid] - expected[valid]
    apart -= apart.mean(axis=-1, keepdims=True)
    return float(np.abs(apart).max())


def _samples(
    config: Config, colour: tuple[int, int, int], size: tuple[int, int], count: int
) -> Iterator[Sample]:
    total = read_record_manifest(config.data.records, SPLIT).num_samples
    dataset = evaluation_dataset(config, SPLIT).as_numpy_iterator()
    chosen = islice(dataset, 0, None, max(total // count, 1))
    for sample in islice(chosen, count):
        yield _framed(sample["image"], sample["label"], size, colour)


def _framed(
    image: np.ndarray,
    label: np.ndarray,
    size: tuple[int, int],
    colour: tuple[int, int, int],
) -> Sample:
    height, width = keep_ratio_size(image.shape[0], image.shape[1], size, size)
    canvas = padded(resize_image(image, (height, width))[None], size, colour)[0]
    truth = np.full(size, IGNORE_LABEL, np.uint8)
    truth[:height, :width] = cv2.resize(
        label, (width, height), interpolation=cv2.INTER_NEAREST
    )
    return Sample(canvas, truth, (slice(height), slice(width)))


def _bar(samples: list[Sample], name: str) -> Iterable[Sample]:
    return tqdm(samples, desc=f"check {name}", unit="img", leave=False, disable=None)
