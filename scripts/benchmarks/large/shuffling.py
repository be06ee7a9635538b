"""Distances of neighbours after an epoch's shuffle, read from real records.

The records are numbers, which take little space; files, segments and the window have
as many records as those of the data in question.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from gcnet_tf.data.compact import hashes
from gcnet_tf.data.records.manifest import Manifest, write_manifest
from gcnet_tf.data.records.shards import write_shard
from gcnet_tf.data.stream import lanes

_NUMBER_BYTES = 8
# A power of two, as the usual size of a record is rounded to one.
_USUAL_BYTES = 32
_READ_TOGETHER = 4096
_NEAREST = 0.01


class Distances(NamedTuple):
    """Distances in an epoch's order between samples that were neighbours before."""

    mean: float
    """Mean number of samples from one to the other."""
    nearest: float
    """The nearest hundredth of the neighbours is at most so far apart."""
    together: float
    """Share of the neighbours that are in one batch."""


@tf.autograph.experimental.do_not_convert
def epoch_order(
    folder: Path, shape: Manifest, window: int, batch_size: int, seed: int = 0
) -> np.ndarray:
    """Returns the order of an epoch, for samples that are numbered as in the files.

    Args:
        folder: new folder for records.
        shape: manifest of the data in question.
        window: number of its samples in the shuffle buffers.
        batch_size: size of the batches.
        seed: seed of the order.

    Returns:
        int64 (number of samples,): the sample in each place of the epoch.
    """
    folder.mkdir()
    shards, first = [], 0
    for shard in shape.shards:
        numbers = range(first, first + shard.num_samples)
        records = (number.to_bytes(_NUMBER_BYTES, "little") for number in numbers)
        lengths = shard.segment_table()[:, 0].tolist()
        shards.append(write_shard(folder / shard.file, records, lengths))
        first += shard.num_samples
    manifest = Manifest("", "train", (), first, (), 0, tuple(shards))
    write_manifest(manifest, folder)
    with mock.patch.object(lanes, "SHUFFLE_BUFFER_BYTES", window * _USUAL_BYTES):
        numbered = lanes.numbered_records(folder, manifest, seed, batch_size)
    records = numbered.map(lambda number, record: record).take(first)
    batches = records.batch(_READ_TOGETHER)
    decoded = batches.map(lambda batch: tf.io.decode_raw(batch, tf.int64))
    return np.concatenate([batch.ravel() for batch in decoded.as_numpy_iterator()])


def beginning(manifest: Manifest, most: int) -> Manifest:
    """Returns the manifest of the first files, with at most so many samples."""
    ends = np.cumsum([shard.num_samples for shard in manifest.shards])
    number = max(int(np.searchsorted(ends, most, side="right")), 1)
    total = int(ends[number - 1])
    return replace(manifest, num_samples=total, shards=manifest.shards[:number])


def source_order(shape: Manifest) -> np.ndarray:
    """Returns where a conversion puts the images of a sorted source, int64 (number,).

    It sorts them by a hash of their names, and deals them out to the files.
    """
    total, files = shape.num_samples, len(shape.shards)
    mixed = np.argsort(hashes(f"city/{number:08d}" for number in range(total)))
    places = np.empty(total, np.int64)
    dealt = np.concatenate([mixed[first::files] for first in range(files)])
    places[dealt] = np.arange(total)
    return places


def distances(order: np.ndarray, line: np.ndarray, batch_size: int) -> Distances:
    """Returns the distances of samples that follow each other in `line`.

    Args:
        order: the sample in each place of the epoch.
        line: the samples as they were before.
        batch_size: size of the batches.
    """
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    places = places[line]
    apart = np.abs(np.diff(places))
    together = np.diff(places // batch_size) == 0
    return Distances(apart.mean(), np.quantile(apart, _NEAREST), together.mean())


def perfect(total: int, batch_size: int) -> Distances:
    """Returns the expected distances of neighbours after a perfect shuffle.

    Two of n places, d apart: there are n - d such pairs among n * (n - 1) / 2.
    """
    nearest = total * (1 - (1 - _NEAREST) ** 0.5)
    return Distances((total + 1) / 3, nearest, (batch_size - 1) / (total - 1))
