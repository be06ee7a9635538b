"""OpenCV's 8-bit image resizing, as indices and weights per row and column.

A position is the number of a row (or column) of the resized image; -1 stands for
padding. For any choice of positions, the functions return the source rows (or columns)
that these positions come from. None of them needs the whole resized image.

The reference resizes with OpenCV, whose fixed-point arithmetic is repeated here bit by
bit (docs/reference.md, section 5.2). A rounded floating-point version would differ in
one pixel of eight.
"""

from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.stream import packed

PADDING = -1

_shift = tf.bitwise.right_shift


class Taps(NamedTuple):
    """The two source rows (or columns) of each output row (or column), with weights.

    All fields are int32 (num_positions,). Weights are in 1/2048, and 0 for padding.
    """

    first: tf.Tensor
    """Index of the first source row (or column)."""
    second: tf.Tensor
    """Index of the second source row (or column)."""
    first_weight: tf.Tensor
    """Weight of the first."""
    second_weight: tf.Tensor
    """Weight of the second."""


def window_positions(
    start: tf.Tensor,
    num_valid: tf.Tensor,
    size: int | tf.Tensor,
    reverse: bool | tf.Tensor = False,
) -> tf.Tensor:
    """Returns the positions of a window along one axis of the resized image.

    Args:
        start: first position.
        num_valid: number of positions in the image.
        size: length of the result; positions after the first `num_valid` are padding.
        reverse: true to reverse the valid part, for a flip.

    Returns:
        int32 (size,), with -1 for padding.
    """
    index = tf.range(size)
    offset = tf.where(reverse, num_valid - 1 - index, index)
    return tf.where(index < num_valid, start + offset, PADDING)


def nearest_index(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> tf.Tensor:
    """Returns the source rows (or columns) of OpenCV's nearest neighbour; -1 stays -1.

    `tf.image.resize` gives other pixels, because OpenCV has no half-pixel offset here
    and computes in float64.

    Args:
        positions: int32 (num_positions,), -1 for padding.
        full_size: number of rows (or columns) of the resized image.
        source_size: number of rows (or columns) of the source.

    Returns:
        int32 (num_positions,).
    """
    step = _step(full_size, source_size)
    index = tf.cast(tf.floor(tf.cast(positions, tf.float64) * step), tf.int32)
    return tf.where(positions < 0, PADDING, tf.minimum(index, source_size - 1))


def linear_row_taps(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Taps:
    """Returns the taps of OpenCV's vertical pass, which clamps rows at the border.

    The arguments are those of `nearest_index`.
    """
    first, fraction = _linear_coordinates(positions, full_size, source_size)
    return Taps(
        tf.clip_by_value(first, 0, source_size - 1),
        tf.clip_by_value(first + 1, 0, source_size - 1),
        *_linear_weights(positions, fraction),
    )


def linear_column_taps(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Taps:
    """Returns the taps of OpenCV's horizontal pass.

    At the border, one column has the whole weight. The arguments are those of
    `nearest_index`.
    """
    first, fraction = _linear_coordinates(positions, full_size, source_size)
    inside = (first >= 0) & (first < source_size - 1)
    return Taps(
        tf.clip_by_value(first, 0, source_size - 1),
        tf.clip_by_value(first + 1, 0, source_size - 1),
        *_linear_weights(positions, tf.where(inside, fraction, 0.0)),
    )


def mix(pixels: tf.Tensor, rows: Taps, columns: Taps) -> tf.Tensor:
    """Interpolates bilinearly as OpenCV does in 8 bits: first columns, then rows.

    Args:
        pixels: packed RGB, int32 (source height, source width).
        rows: taps of the output rows.
        columns: taps of the output columns.

    Returns:
        Packed RGB, int32 (number of rows, number of columns).
    """
    left = tf.gather(pixels, columns.first, axis=1)
    right = tf.gather(pixels, columns.second, axis=1)
    upper = _mix_channels(left, right, rows.first, rows.first_weight, columns)
    lower = _mix_channels(left, right, rows.second, rows.second_weight, columns)
    return packed.join(*(_shift(u + l + 2, 2) for u, l in zip(upper, lower)))


def _mix_channels(left, right, row, weight, columns):
    """Yields, per channel, the part of each output row that one of its two rows gives.

    Args:
        left: source pixels of the first column of each output column.
        right: source pixels of the second column of each output column.
        row: index of the source row of each output row.
        weight: weight of that row.
        columns: taps of the output columns.
    """
    for left_channel, right_channel in zip(
        packed.split(tf.gather(left, row)), packed.split(tf.gather(right, row))
    ):
        mixed = (
            left_channel * columns.first_weight + right_channel * columns.second_weight
        )
        yield _shift(_shift(mixed, 4) * weight[:, tf.newaxis], 16)


def _step(full_size: tf.Tensor, source_size: tf.Tensor) -> tf.Tensor:
    """Returns the source pixels per resized pixel, float64.

    As in OpenCV, it is the reciprocal of the inverse, which rounds differently.
    """
    inverse = tf.cast(full_size, tf.float64) / tf.cast(source_size, tf.float64)
    return 1.0 / inverse


def _linear_coordinates(positions, full_size, source_size):
    """Returns the source index before each position's centre, and the distance to it.

    They are int32 and float32, the distance in [0, 1).
    """
    step = _step(full_size, source_size)
    source = (tf.cast(positions, tf.float64) + 0.5) * step - 0.5
    source = tf.cast(source, tf.float32)
    first = tf.floor(source)
    return tf.cast(first, tf.int32), source - first


def _linear_weights(positions, fraction):
    """Returns both weights in 1/2048, rounded half to even; int32, 0 for padding."""
    weights = tf.stack([1.0 - fraction, fraction]) * 2048.0
    weights = tf.cast(tf.round(weights), tf.int32)
    return tf.unstack(tf.where(positions < 0, 0, weights))
