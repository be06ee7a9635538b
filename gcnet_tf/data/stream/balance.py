"""The classes in a window of a label, and windows that are chosen by a class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.stream import resample
from gcnet_tf.data.stream.resample import window_positions

# Makes these random numbers differ from all others of the same seed.
_STREAM = 11


class Balance(NamedTuple):
    """A share of the crops that is chosen by a class."""

    probability: float
    """Share of the crops."""
    chances: Sequence[float]
    """Chance of each class to be drawn, in proportion, where it is in the label."""


def class_chances(histogram: Sequence[int]) -> list[float]:
    """Returns 1 / sqrt(pixels of the class), as for automatic class weights.

    Args:
        histogram: number of training pixels per class.
    """
    return [1 / math.sqrt(count) if count else 0.0 for count in histogram]


def rare_classes(histogram: Sequence[int]) -> list[int]:
    """Returns the classes with fewer pixels than an even share, and more than none."""
    even = sum(histogram) / len(histogram)
    return [index for index, count in enumerate(histogram) if 0 < count < even]


def balanced_corner(
    label: tf.Tensor,
    full_size: tf.Tensor,
    seed: tf.Tensor,
    crop_size: tuple[int, int],
    corner: tf.Tensor,
    balance: Balance,
) -> tf.Tensor:
    """Replaces a share of the corners by those of windows that hold a drawn class.

    One of the classes in the label is drawn by its chance, one of its pixels evenly,
    and one of the windows with this pixel evenly.

    Args:
        label: uint8 (height, width), at source size.
        full_size: int32 (2,), height and width that the image is resized to.
        seed: int32 or int64 (2,), the sample's.
        crop_size: (height, width) of the window.
        corner: int32 (2,), returned where no class is drawn or in the label.
        balance: the share, and the chances.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, _STREAM)
    draws = tf.unstack(tf.random.stateless_uniform((6,), seed, dtype=tf.float64))
    label = tf.convert_to_tensor(label)

    def chosen() -> tf.Tensor:
        runs = label_runs(label)
        lengths = tf.cast(runs.stop - runs.start, tf.float64)
        classes = len(balance.chances)
        # 256 values, of which those that are no class have no chance.
        pixels = tf.math.unsorted_segment_sum(lengths, runs.value, 256)[:classes]
        chances = tf.constant(balance.chances, tf.float64)
        chances = tf.where(pixels > 0, chances, tf.zeros_like(chances))
        class_id = _drawn(chances, draws[1])
        inside = tf.where(runs.value == class_id, lengths, tf.zeros_like(lengths))
        run = _drawn(inside, draws[2])
        column = runs.start[run] + tf.cast(draws[3] * lengths[run], tf.int64)
        source = tf.cast(tf.stack([runs.row[run], column]), tf.float64)
        step = tf.cast(full_size, tf.float64) / tf.cast(runs.size, tf.float64)
        place = tf.cast((source + 0.5) * step, tf.int32)
        room = tf.maximum(tf.subtract(full_size, crop_size), 0)
        first = tf.maximum(tf.subtract(place, crop_size) + 1, 0)
        last = tf.minimum(place, room)
        first = tf.minimum(first, last)
        shares = tf.stack(draws[4:])
        offset = tf.cast(shares * tf.cast(last - first + 1, tf.float64), tf.int32)
        return tf.where(tf.reduce_any(chances > 0), first + offset, corner)

    return tf.cond(draws[0] < balance.probability, chosen, lambda: corner)


def _drawn(chances: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Draws an index in proportion to chances (n,), by a share in [0, 1); int32."""
    sums = tf.cumsum(chances)
    index = tf.searchsorted(sums, [share * sums[-1]], side="right")[0]
    return tf.minimum(index, tf.size(chances) - 1)


class Runs(NamedTuple):
    """A label as runs of equal values within a row, in reading order."""

    value: tf.Tensor
    """int32 (num_runs,), the value of each run."""
    row: tf.Tensor
    """int64 (num_runs,), its row."""
    start: tf.Tensor
    """int64 (num_runs,), its first column."""
    stop: tf.Tensor
    """int64 (num_runs,), the column after its last."""
    size: tf.Tensor
    """int32 (2,), height and width of the label."""


def label_runs(label: tf.Tensor) -> Runs:
    """Finds the runs of a label; a usual label has a few thousand.

    Counting runs instead of pixels makes `choose_crop` fast.
    """
    size = tf.shape(label)
    width = tf.cast(size[1], tf.int64)
    starts = tf.pad(
        label[:, 1:] != label[:, :-1], ((0, 0), (1, 0)), constant_values=True
    )
    place = tf.where(tf.reshape(starts, [-1]))[:, 0]
    end = tf.concat([place[1:], [tf.size(label, tf.int64)]], axis=0)
    start = place % width
    value = tf.cast(tf.gather(tf.reshape(label, [-1]), place), tf.int32)
    return Runs(value, place // width, start, start + end - place, size)


def class_counts(runs, full_size, corner, valid_size):
    """Counts the pixels per label value in a window of the resized label; int32 (256,).

    The resized label repeats (or skips) source rows and columns. The weight of a run is
    therefore the number of the window's rows that come from its row, times the number
    of the window's columns that come from its columns.
    """
    num_before = []
    for axis in range(2):
        positions = window_positions(corner[axis], valid_size[axis], valid_size[axis])
        source = resample.nearest_index(positions, full_size[axis], runs.size[axis])
        # For each source row (or column): the number of positions that come from the
        # rows (or columns) before it.
        edges = tf.range(runs.size[axis] + 1)
        num_before.append(tf.searchsorted(source, edges))
    rows_before, columns_before = num_before
    num_rows = tf.gather(rows_before[1:] - rows_before[:-1], runs.row)
    num_columns = tf.gather(columns_before, runs.stop) - tf.gather(
        columns_before, runs.start
    )
    # tf.math.bincount would first search for the largest value.
    return tf.raw_ops.DenseBincount(
        input=runs.value, size=256, weights=num_rows * num_columns
    )


def is_balanced(counts: tf.Tensor, category_max_ratio: float) -> tf.Tensor:
    """Tells whether a crop with these counts per label value is accepted."""
    counts = tf.cast(counts[:IGNORE_LABEL], tf.float64)
    total = tf.reduce_sum(counts)
    has_several_classes = tf.math.count_nonzero(counts) > 1
    return has_several_classes & (tf.reduce_max(counts) / total < category_max_ratio)
