"""The training images by whose values an 8-bit file is scaled."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records import shards
from gcnet_tf.evaluation.exported import protocol_settings
from gcnet_tf.runtime.protocol import Network, Protocol, Segmenter


def calibration_inputs(
    config: Config, size: tuple[int, int], number: int
) -> Iterator[np.ndarray]:
    """Inputs of a network of one size, as the runtime makes them from training images.

    The images are the same each time and from the whole split.

    Args:
        config: names the records and the protocol.
        size: (height, width) of the inputs.
        number: how many; fewer where there are fewer images.

    Yields:
        RGB uint8 `(height, width, 3)`.

    Raises:
        UserError: if the records are missing, empty or of another data set.
    """
    manifest = matching_manifest(config, "train")
    folder = Path(config.data.records) / manifest.split
    paths = [str(folder / shard.file) for shard in manifest.shards]
    # Samples are dealt out to the shards by a hash of their name, so that the first of
    # each shard are a fair choice, and little has to be read.
    dataset = tf.data.Dataset.from_tensor_slices(paths).interleave(
        tf.data.TFRecordDataset, cycle_length=len(paths)
    )
    for index, serialized in enumerate(dataset.take(number)):
        sample = shards.decode_sample(shards.parse_example(serialized))
        seen = _inputs(sample["image"].numpy(), size, _protocol(config))
        # Of overlapping windows one per image, in turn all over it.
        yield seen[index % len(seen)]


def _protocol(config: Config) -> Protocol:
    return Protocol.from_settings({**protocol_settings(config), "ms_flip": False})


def _inputs(
    image: np.ndarray, size: tuple[int, int], protocol: Protocol
) -> list[np.ndarray]:
    """What a network of this size is shown of an image."""
    seen: list[np.ndarray] = []

    def see(images: np.ndarray) -> np.ndarray:
        seen.extend(images)
        return np.zeros((*images.shape[:3], 1), np.float32)

    Segmenter(Network(see, size=size, batch=1), protocol).scores(image)
    return seen
