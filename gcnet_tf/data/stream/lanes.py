"""The order of the training samples, and their division among the workers.

Samples are numbered from 0 on through all epochs. A batch of B samples takes the next B
numbers, so that number p has slot p mod B in its batch. The slots are divided, in
order, into lanes of equal width. In every epoch each lane reads a block of the records:
the records of all pieces, in the epoch's order of the pieces, are cut into one block
per lane. A lane shuffles its block and fills its slots with the records.

The shuffle buffers of all lanes, the window, have a fixed number of bytes. Where the
data is larger, the pieces are the segments of the shards, a megabyte or one record
each, so that hardly any two records stay neighbours. Where the window holds all
records, and in records of older versions, which have no segments, they are the shards.

All of this follows from the seed, the batch size and the records. Therefore any number
of workers that share the batches get the same batches. A worker fills some of the
slots, and reads only the pieces that the lanes of these slots need.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.records.reading import records_from

# Size of the shuffle buffers of all lanes together, which hold encoded records. A small
# data set fits in as a whole; of a large one, a few thousand images do.
SHUFFLE_BUFFER_BYTES = 256 * 2**20

_READ_BUFFER_BYTES = 4 * 2**20
_LEAST_READ_BUFFER_BYTES = 2**18
# Numbers or texts that are handled at once, because each alone would take longer.
_TOGETHER = 4096
# Limited, because each lane keeps a file open.
_MAX_LANES = 64
# Negative, so that it differs from the second number in the seed of every sample.
_ORDER_SEED = -1


@dataclass(frozen=True)
class Share:
    """One worker's part of every batch or of a split; all parts are equal."""

    index: int = 0
    """Number of this part, from 0 on."""
    number: int = 1
    """Number of parts."""

    def of(self, total: int) -> tuple[int, int]:
        """Returns first and end of this part of `total` items.

        The sizes of two parts differ by one at most.
        """
        first, end = self.index, self.index + 1
        return total * first // self.number, total * end // self.number


ALL = Share()


def numbered_records(
    folder: Path,
    manifest: Manifest,
    seed: int,
    batch_size: int,
    start_iteration: int = 0,
    share: Share = ALL,
) -> tf.data.Dataset:
    """Returns the records of a share of all batches from `start_iteration` on.

    Nothing is decoded here, so that skipping to the middle of an epoch only costs the
    time for reading.

    Args:
        folder: folder of the shards.
        manifest: manifest of the split.
        seed: seed of the order.
        batch_size: size of the whole batch, a multiple of `share.number`.
        start_iteration: number of the first batch.
        share: the part of each batch.

    Returns:
        Pairs (number of the sample, serialized record).
    """
    lanes = _Lanes(folder, manifest, seed, batch_size)
    first_slot, end_slot = share.of(batch_size)
    first_lane, end_lane = first_slot // lanes.width, -(-end_slot // lanes.width)
    dataset = tf.data.Dataset.range(first_lane, end_lane).interleave(
        lambda lane: lanes.records(lane, start_iteration),
        cycle_length=end_lane - first_lane,
        block_length=lanes.width,
        # Of large data, one thread would wait for the disk on behalf of all lanes. If
        # the window holds all records, so does the system's cache of files, and handing
        # each from thread to thread would take as long as reading it.
        num_parallel_calls=None if lanes.fits else end_lane - first_lane,
        deterministic=None if lanes.fits else True,
    )
    num_slots = (end_lane - first_lane) * lanes.width
    dataset = dataset.enumerate(start_iteration * num_slots)

    def slot_of(index):
        return first_lane * lanes.width + index % num_slots

    if num_slots > end_slot - first_slot:  # some slots belong to other workers
        dataset = dataset.filter(
            lambda index, record: (first_slot <= slot_of(index))
            & (slot_of(index) < end_slot)
        )
    return dataset.map(
        lambda index, record: (
            index // num_slots * batch_size + slot_of(index),
            record,
        )
    )


def split_records(folder: Path, manifest: Manifest, share: Share) -> tf.data.Dataset:
    """Returns the serialized records of a share of a split, in order, once."""
    pieces = _Pieces.shards(folder, manifest)
    first, end = share.of(manifest.num_samples)
    return _read(pieces, first, end, _READ_BUFFER_BYTES)


class _Pieces(NamedTuple):
    """Pieces of the records of a split; tensors (number of pieces,) but for `path`."""

    path: tf.Tensor
    """string (number of files,)"""
    file: tf.Tensor
    """int32, the number of the piece's file"""
    offset: tf.Tensor
    """int64, its first byte in the file"""
    count: tf.Tensor
    """int64, its number of records"""

    @classmethod
    def shards(cls, folder: Path, manifest: Manifest) -> "_Pieces":
        """Returns a piece for each shard."""
        tables = [
            np.array([[shard.num_samples, shard.num_bytes]])
            for shard in manifest.shards
        ]
        return cls._of(folder, manifest, tables)

    @classmethod
    def segments(cls, folder: Path, manifest: Manifest) -> "_Pieces":
        """Returns a piece for each segment."""
        return cls._of(
            folder, manifest, [shard.segment_table() for shard in manifest.shards]
        )

    @classmethod
    def _of(cls, folder: Path, manifest: Manifest, tables: list) -> "_Pieces":
        """Returns pieces of tables of (number of records, number of bytes)."""
        files = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        offsets = [np.cumsum(table[:, 1]) - table[:, 1] for table in tables]
        return cls(
            tf.constant([str(folder / shard.file) for shard in manifest.shards]),
            tf.constant(files, tf.int32),
            tf.constant(np.concatenate(offsets), tf.int64),
            tf.constant(np.concatenate(tables)[:, 0], tf.int64),
        )


class _Lanes:
    """The lanes for one batch size."""

    def __init__(self, folder: Path, manifest: Manifest, seed: int, batch_size: int):
        is_divided = all(shard.segments for shard in manifest.shards)
        self.fits = window_of(manifest) >= manifest.num_samples
        is_by_segments = is_divided and not self.fits
        make_pieces = _Pieces.segments if is_by_segments else _Pieces.shards
        self.pieces = make_pieces(folder, manifest)
        self.num_samples = manifest.num_samples
        self.seed = seed
        self.batch_size = batch_size
        num_lanes = _largest_divisor(batch_size, min(len(manifest.shards), _MAX_LANES))
        self.width = batch_size // num_lanes
        self.buffer_size = max(1, window_of(manifest) // num_lanes)
        self.read_buffer = max(
            _READ_BUFFER_BYTES // num_lanes, _LEAST_READ_BUFFER_BYTES
        )

    def records(self, lane: tf.Tensor, start_iteration: int) -> tf.data.Dataset:
        """Returns the endless stream of a lane's records."""
        first_number = start_iteration * self.batch_size + lane * self.width
        first_epoch = first_number // self.num_samples
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        num_before = first_epoch * self.num_samples
        # Records of the lane in the epochs before the first one, which are not read.
        num_unread = self._num_given(num_before, lane + 1) - self._num_given(
            num_before, lane
        )
        num_given = start_iteration * self.width - num_unread
        return epochs.flat_map(
            lambda epoch: self._epoch(
                lane, epoch, tf.where(epoch == first_epoch, num_given, 0)
            )
        )

    def _epoch(
        self, lane: tf.Tensor, epoch: tf.Tensor, num_given: tf.Tensor
    ) -> tf.data.Dataset:
        """Returns the shuffled records of a lane in one epoch, from one of them on."""
        # Dataset.shuffle mixes the seed of its graph into its own. Fixing the seed of
        # this function's graph, and of no other, makes the order independent of
        # tf.random.set_seed, and lets shuffle accept tf.random.set_seed(0).
        tf.compat.v1.set_random_seed(1)
        fold_in = tf.random.experimental.stateless_fold_in
        seeds = fold_in(tf.constant([self.seed, _ORDER_SEED], tf.int64), epoch)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(self.pieces.count)), seeds
        )
        num_before = epoch * self.num_samples
        num_after = num_before + self.num_samples
        first, end = (
            self._num_given(num_after, edge) - self._num_given(num_before, edge)
            for edge in (lane, lane + 1)
        )

        def shuffled(dataset: tf.data.Dataset) -> tf.data.Dataset:
            seed = fold_in(seeds, lane)[0]
            return dataset.shuffle(
                self.buffer_size, seed=seed, reshuffle_each_iteration=False
            ).skip(num_given)

        # A run that resumes in the middle of an epoch does not read its first half
        # again. Of the records that were read, the last few windows hold all that were
        # not given yet. Empty texts stand for those before, because shuffling moves
        # texts of any content alike.
        most = tf.where(num_given > 0, end - first, 0)
        numbers = shuffled(tf.data.Dataset.range(end - first)).take(most)
        num_read = numbers.batch(_TOGETHER).reduce(
            most, lambda least, some: tf.minimum(least, tf.reduce_min(some))
        )
        empty = tf.data.Dataset.from_tensor_slices(tf.fill([_TOGETHER], ""))
        before = empty.repeat().take(num_read)
        records = _read(self.pieces, first + num_read, end, self.read_buffer, order)
        return shuffled(before.concatenate(records))

    def _num_given(self, num_samples: tf.Tensor, lane: tf.Tensor) -> tf.Tensor:
        """Counts those of the first `num_samples` that the lanes before `lane` give."""
        slots = lane * self.width
        batches, rest = num_samples // self.batch_size, num_samples % self.batch_size
        return batches * slots + tf.minimum(rest, slots)


def _read(
    pieces: _Pieces, first, end, buffer_size: int, order: tf.Tensor | None = None
) -> tf.data.Dataset:
    """Reads the records `first` to `end` - 1; opens only the files that hold them.

    Args:
        pieces: all pieces.
        first: number of a record.
        end: number of a record.
        buffer_size: number of bytes that are read at once.
        order: numbers of all pieces, int32; None for 0, 1, 2, ...
    """
    first, end = tf.cast(first, tf.int64), tf.cast(end, tf.int64)
    if order is None:
        order = tf.range(len(pieces.count))
    bounds = tf.pad(tf.cumsum(tf.gather(pieces.count, order)), [[1, 0]])
    first_piece = tf.searchsorted(bounds[1:], [first], side="right")[0]
    end_piece = tf.searchsorted(bounds, [end], side="left")[0]

    def records_of(piece: tf.Tensor, bound: tf.Tensor) -> tf.data.Dataset:
        num_before = tf.maximum(first - bound, 0)
        num_wanted = tf.minimum(pieces.count[piece], end - bound) - num_before
        path = pieces.path[pieces.file[piece]]
        records = records_from(path, pieces.offset[piece], buffer_size)
        return records.skip(num_before).take(num_wanted)

    # Of the millions of pieces that there may be, each lane keeps only its own.
    own = (order[first_piece:end_piece], bounds[first_piece:end_piece])
    return tf.data.Dataset.from_tensor_slices(own).flat_map(records_of)


def shuffle_text(manifest: Manifest) -> str:
    """Says in a sentence how far the training samples are mixed."""
    window, total = window_of(manifest), manifest.num_samples
    if window >= total:
        return f"Shuffles all {total} training samples in every epoch."
    num_pieces = sum(len(shard.segment_table()) for shard in manifest.shards)
    pieces = f"{num_pieces} pieces" if num_pieces else f"{len(manifest.shards)} files"
    return (
        f"Shuffles {pieces} of the training records in every epoch, and then "
        f"{window} of {total} samples at a time ({SHUFFLE_BUFFER_BYTES // 2**20} MiB)."
    )


def window_of(manifest: Manifest) -> int:
    """Returns the number of samples of usual size that the shuffle buffers hold."""
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    # Rounded to a power of two. A shard that is replaced because of a damaged image has
    # a few bytes more or less, which must not change the order of all samples.
    usual_bytes = 2 ** round(math.log2(max(num_bytes / manifest.num_samples, 1)))
    return min(SHUFFLE_BUFFER_BYTES // usual_bytes, manifest.num_samples)


def _largest_divisor(batch_size: int, limit: int) -> int:
    return max(factor for factor in range(1, limit + 1) if batch_size % factor == 0)
