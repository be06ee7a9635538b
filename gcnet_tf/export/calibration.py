"""Calibration inputs: the training images that set the ranges of an 8-bit file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records import shards
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime.predict import Network, predict_logits
from gcnet_tf.runtime.protocol import Protocol

# The labels hardly change between 2 and 32 images, and each image takes seconds.
NUM_IMAGES = 16


def calibration_images(
    model: Segmentor, config: Config, size: tuple[int, int]
) -> np.ndarray:
    """Collects the inputs that set the ranges of an 8-bit file of a model.

    Returns:
        RGB uint8 `(number, height, width, 3)`.

    Raises:
        UserError: when the records are missing, empty or of another data set.
    """
    settings = protocol_settings(config, model.backbone.padding_colour)
    protocol = Protocol.from_settings(settings)
    return np.stack(list(calibration_inputs(config, protocol, size, NUM_IMAGES)))


def calibration_inputs(
    config: Config, protocol: Protocol, size: tuple[int, int], count: int
) -> Iterator[np.ndarray]:
    """Yields inputs of a network of one size, made from training images by the runtime.

    The images are the same in each call, and come from the whole split.

    Args:
        config: names the records, see `data.records`.
        protocol: how images become inputs.
        size: (height, width) of the inputs.
        count: number of inputs; fewer where there are fewer images.

    Yields:
        RGB uint8 `(height, width, 3)`.

    Raises:
        UserError: when the records are missing, empty or of another data set.
    """
    manifest = matching_manifest(config, "train")
    with pinned(config, [manifest.split]) as reading:
        yield from _inputs_of(reading, manifest, protocol, size, count)


def _inputs_of(
    config: Config,
    manifest: Manifest,
    protocol: Protocol,
    size: tuple[int, int],
    count: int,
) -> Iterator[np.ndarray]:
    folder = Path(config.data.records) / manifest.split
    paths = [str(folder / shard.file) for shard in manifest.shards]
    # A hash of its name assigns each sample to a shard. So the first samples of all
    # shards are a fair choice, and little has to be read.
    dataset = tf.data.Dataset.from_tensor_slices(paths).interleave(
        tf.data.TFRecordDataset, cycle_length=len(paths)
    )
    for index, serialized in enumerate(dataset.take(count)):
        sample = shards.decode_sample(shards.parse_example(serialized))
        inputs = _inputs(sample["image"].numpy(), size, protocol)
        # One of the overlapping windows of each image, from changing positions.
        yield inputs[index % len(inputs)]


def _inputs(
    image: np.ndarray, size: tuple[int, int], protocol: Protocol
) -> list[np.ndarray]:
    """Collects the inputs of a network of one size for an image."""
    inputs: list[np.ndarray] = []

    def remember(images: np.ndarray) -> np.ndarray:
        inputs.extend(images)
        return np.zeros((*images.shape[:3], 1), np.float32)

    network = Network(remember, size=size, batch=1)
    predict_logits(network, replace(protocol, ms_flip=False), image)
    return inputs
