"""Records of many samples, made without images of their own on the disk."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.manifest import Manifest, Shard, write_manifest
from gcnet_tf.data.records.shards import RECORD_FRAME_BYTES, write_shard
from gcnet_tf.data.records.source import FROM_LISTS

SIDE = 16
"""Height and width of the images."""
_NUM_IMAGES = 64
_NUM_VAL = 2
# A file system allows a file so many names, 65,000 in ext4.
_MOST_LINKS = 60_000


def write_splits(
    config: Config, num_samples: int, num_shards: int, num_bytes: int, linked: bool
) -> None:
    """Writes the records of both splits where the configuration says.

    Args:
        config: names the data set and the folder of the records.
        num_samples: number of training samples.
        num_shards: number of files; they differ by one sample at most.
        num_bytes: size of a record, at least; the images are filled up to it.
        linked: writes one file for each number of samples, and links to it for the
            others, so that data of any size can be read from a small disk.
    """
    for split, total, files in (
        ("train", num_samples, num_shards),
        ("val", _NUM_VAL, 1),
    ):
        folder = Path(config.data.records) / split
        folder.mkdir(parents=True)
        examples = _Examples(config, num_bytes)
        shards: list[Shard] = []
        written: dict[int, Shard] = {}
        bounds = [total * number // files for number in range(files + 1)]
        for number, (first, end) in enumerate(zip(bounds, bounds[1:])):
            path = folder / f"{split}-{number:05d}-of-{files:05d}.tfrecord"
            if linked and number % _MOST_LINKS and end - first in written:
                shard = replace(written[end - first], file=path.name)
                os.link(folder / written[end - first].file, path)
            else:
                shard = write_shard(path, examples.records(first, end))
                written[end - first] = shard
            shards.append(shard)
        facts = facts_of(config.data)
        manifest = Manifest(
            dataset=facts.name,
            split=split,
            classes=facts.classes,
            num_samples=total,
            class_histogram=(total * SIDE**2 // facts.num_classes,) * facts.num_classes,
            num_ignored_pixels=0,
            shards=tuple(shards),
            source=FROM_LISTS,
        )
        write_manifest(manifest, folder)


class _Examples:
    """Serialized samples: a few images, each sample with a name of its own."""

    def __init__(self, config: Config, num_bytes: int):
        rng = np.random.default_rng(0)
        num_classes = facts_of(config.data).num_classes
        self._images = [
            _png(rng.integers(0, 256, (SIDE // 4, SIDE // 4, 3), np.uint8))
            for _ in range(_NUM_IMAGES)
        ]
        self._labels = [
            _png(rng.integers(0, num_classes, (SIDE // 4, SIDE // 4, 1), np.uint8))
            for _ in range(_NUM_IMAGES)
        ]
        sizes = map(len, self.records(0, _NUM_IMAGES))
        # Decoders read a PNG to its end and no further.
        self._images = [
            image + rng.bytes(max(num_bytes - size - RECORD_FRAME_BYTES, 0))
            for image, size in zip(self._images, list(sizes))
        ]

    def records(self, first: int, end: int) -> Iterator[bytes]:
        """Yields the records of the samples `first` to `end` - 1."""
        for number in range(first, end):
            values = {
                "image": self._images[number % _NUM_IMAGES],
                "label": self._labels[number % _NUM_IMAGES],
                "name": b"%08d" % number,
            }
            features = {
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for key, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            yield example.SerializeToString(deterministic=True)


def _png(pixels: np.ndarray) -> bytes:
    """Returns a PNG of (SIDE, SIDE, channels), each pixel given repeated 4x4 times."""
    return tf.io.encode_png(pixels.repeat(4, axis=0).repeat(4, axis=1)).numpy()
