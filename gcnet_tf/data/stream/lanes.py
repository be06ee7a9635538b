"""The order of the training samples, and who reads which of them.

Samples are numbered from 0 on through all epochs. A batch of B takes the next B
numbers, so number p has the slot p mod B in its batch. The slots are divided into
lanes, equal and in order, and in every epoch each lane reads a block of the records:
the shards in the epoch's order, cut into as many blocks as there are lanes. A lane
shuffles what it reads and fills its slots with it.

All of this follows from the seed, the batch size and the records. So however many
workers share the batches, they see the same ones; a worker fills some of the slots, and
opens only the shards that the lanes of these slots read.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from gcnet_tf.data.records.manifest import Manifest

# Encoded records wait here for their turn, in all lanes together. Small data sets fit
# in as a whole; of a large one it is a few thousand images.
SHUFFLE_BUFFER_BYTES = 256 * 2**20

_READ_BUFFER_BYTES = 4 * 2**20
_LEAST_READ_BUFFER_BYTES = 2**18
# Each lane keeps a file open.
_MAX_LANES = 64
# Set apart from the seeds of samples, whose second number is not negative.
_ORDER_SEED = -1


@dataclass(frozen=True)
class Share:
    """One worker's equal part of every batch, or of a split."""

    index: int = 0
    number: int = 1

    def of(self, total: int) -> tuple[int, int]:
        """First and end of this part of `total` things; parts differ by one at most."""
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
    """(number, serialized record) of a share of all batches from `start_iteration` on.

    Nothing is decoded here, so that skipping to the middle of an epoch costs no more
    than reading.

    Args:
        folder: where the shards lie.
        manifest: of the split.
        seed: decides about the order.
        batch_size: of the whole batch, a multiple of `share.number`.
        start_iteration: number of the first batch.
        share: which part of each batch.
    """
    lanes = _Lanes(folder, manifest, seed, batch_size)
    first_slot, end_slot = share.of(batch_size)
    first_lane, end_lane = first_slot // lanes.width, -(-end_slot // lanes.width)
    dataset = tf.data.Dataset.range(first_lane, end_lane).interleave(
        lambda lane: lanes.records(lane, start_iteration),
        cycle_length=end_lane - first_lane,
        block_length=lanes.width,
    )
    num_slots = (end_lane - first_lane) * lanes.width
    dataset = dataset.enumerate(start_iteration * num_slots)

    def slot_of(index):
        return first_lane * lanes.width + index % num_slots

    if num_slots > end_slot - first_slot:  # the lanes fill slots of others, too
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
    """The serialized records of a share of a split, in order, once."""
    paths, counts = _shards(folder, manifest)
    first, end = share.of(manifest.num_samples)
    return _read(paths, counts, first, end, _READ_BUFFER_BYTES)


class _Lanes:
    """The lanes for one batch size."""

    def __init__(self, folder: Path, manifest: Manifest, seed: int, batch_size: int):
        self.paths, self.counts = _shards(folder, manifest)
        self.num_samples = manifest.num_samples
        self.seed = seed
        self.batch_size = batch_size
        self.number = _largest_divisor(
            batch_size, min(len(manifest.shards), _MAX_LANES)
        )
        self.width = batch_size // self.number
        self.buffer_size = max(1, _buffered_samples(manifest) // self.number)
        self.read_buffer = max(
            _READ_BUFFER_BYTES // self.number, _LEAST_READ_BUFFER_BYTES
        )

    def records(self, lane: tf.Tensor, start_iteration: int) -> tf.data.Dataset:
        """The records of a lane, endless."""
        first_number = start_iteration * self.batch_size + lane * self.width
        first_epoch = first_number // self.num_samples
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        before = first_epoch * self.num_samples
        done = self._used(before, lane + 1) - self._used(before, lane)
        return epochs.flat_map(lambda epoch: self._epoch(lane, epoch)).skip(
            start_iteration * self.width - done
        )

    def _epoch(self, lane: tf.Tensor, epoch: tf.Tensor) -> tf.data.Dataset:
        # Dataset.shuffle mixes the seed of its graph into its own. Fixing that of the
        # function being traced (no other) makes the order independent of
        # tf.random.set_seed, and tf.random.set_seed(0) does not raise in shuffle.
        tf.compat.v1.set_random_seed(1)
        fold_in = tf.random.experimental.stateless_fold_in
        seeds = fold_in(tf.constant([self.seed, _ORDER_SEED], tf.int64), epoch)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(self.counts)), seeds
        )
        before = epoch * self.num_samples
        first, end = (
            self._used(before + self.num_samples, each) - self._used(before, each)
            for each in (lane, lane + 1)
        )
        records = _read(
            tf.gather(self.paths, order),
            tf.gather(self.counts, order),
            first,
            end,
            self.read_buffer,
        )
        return records.shuffle(
            self.buffer_size,
            seed=fold_in(seeds, lane)[0],
            reshuffle_each_iteration=False,
        )

    def _used(self, number: tf.Tensor, lane: tf.Tensor) -> tf.Tensor:
        """How many of the first `number` samples the lanes before `lane` give."""
        slots = lane * self.width
        batches, rest = number // self.batch_size, number % self.batch_size
        return batches * slots + tf.minimum(rest, slots)


def _shards(folder: Path, manifest: Manifest) -> tuple[tf.Tensor, tf.Tensor]:
    """Paths and numbers of samples."""
    paths = [str(folder / shard.file) for shard in manifest.shards]
    counts = [shard.num_samples for shard in manifest.shards]
    return tf.constant(paths), tf.constant(counts, tf.int64)


def _read(paths, counts, first, end, buffer_size: int) -> tf.data.Dataset:
    """Records number `first` to `end` - 1; opens only the files that hold them."""
    first, end = tf.cast(first, tf.int64), tf.cast(end, tf.int64)
    bounds = tf.pad(tf.cumsum(counts), [[1, 0]])
    first_file = tf.searchsorted(bounds[1:], [first], side="right")[0]
    end_file = tf.searchsorted(bounds, [end], side="left")[0]
    dataset = tf.data.TFRecordDataset(
        paths[first_file:end_file], buffer_size=buffer_size
    )
    return dataset.skip(first - bounds[first_file]).take(end - first)


def _buffered_samples(manifest: Manifest) -> int:
    """How many samples of usual size the shuffle buffer holds."""
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    # A power of two: a shard that is replaced because of a damaged image has a few
    # bytes more or less, which must not change the order of everything.
    usual = 2 ** round(math.log2(max(num_bytes / manifest.num_samples, 1)))
    return min(SHUFFLE_BUFFER_BYTES // usual, manifest.num_samples)


def _largest_divisor(number: int, limit: int) -> int:
    return max(each for each in range(1, limit + 1) if number % each == 0)
