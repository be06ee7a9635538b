"""OpenCV's 8-bit image resizing, as indices and weights per row and column.

A position is the number of a row (or column) of the resized image; -1 stands for
padding. Each function answers, for any choice of positions, which source rows (or
columns) they are made of. Nothing here needs the resized image as a whole.

The reference resizes with OpenCV, whose fixed-point arithmetic is repeated here bit by
bit (parity spec 5.2): a rounded floating-point version differs in one pixel of eight.
"""

from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.stream import packed

PADDING = -1

_shift = tf.bitwise.right_shift


class Taps(NamedTuple):
    """How output rows (or columns) are mixed from two source rows (or columns) each.

    All int32 (num_positions,). Weights are in 1/2048 and are all 0 for padding.
    """

    first: tf.Tensor
    second: tf.Tensor
    first_weight: tf.Tensor
    second_weight: tf.Tensor


def nearest_index(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> tf.Tensor:
    """Source rows (or columns) of OpenCV's nearest neighbour; -1 stays -1.

    `tf.image.resize` picks other pixels: OpenCV has no half-pixel offset here, and the
    double arithmetic matters.
    """
    step = _step(full_size, source_size)
    index = tf.cast(tf.floor(tf.cast(positions, tf.float64) * step), tf.int32)
    return tf.where(positions < 0, PADDING, tf.minimum(index, source_size - 1))


def linear_row_taps(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Taps:
    """Taps of OpenCV's vertical pass: rows beyond the border are clamped."""
    first, fraction = _linear_coordinates(positions, full_size, source_size)
    return Taps(
        tf.clip_by_value(first, 0, source_size - 1),
        tf.clip_by_value(first + 1, 0, source_size - 1),
        *_linear_weights(positions, fraction),
    )


def linear_column_taps(
    positions: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Taps:
    """Taps of OpenCV's horizontal pass: at the border one column has all the weight."""
    first, fraction = _linear_coordinates(positions, full_size, source_size)
    inside = (first >= 0) & (first < source_size - 1)
    return Taps(
        tf.clip_by_value(first, 0, source_size - 1),
        tf.clip_by_value(first + 1, 0, source_size - 1),
        *_linear_weights(positions, tf.where(inside, fraction, 0.0)),
    )


def mix(pixels: tf.Tensor, rows: Taps, columns: Taps) -> tf.Tensor:
    """OpenCV's 8-bit bilinear interpolation: columns first, then rows.

    Args:
        pixels: packed RGB, int32 (source height, source width).

    Returns:
        Packed RGB, int32 (number of rows, number of columns).
    """
    left = tf.gather(pixels, columns.first, axis=1)
    right = tf.gather(pixels, columns.second, axis=1)
    upper = _mix_channels(left, right, rows.first, rows.first_weight, columns)
    lower = _mix_channels(left, right, rows.second, rows.second_weight, columns)
    return packed.join(*(_shift(u + l + 2, 2) for u, l in zip(upper, lower)))


def _mix_channels(left, right, row, weight, columns):
    """What one of both source rows adds to each output row, per channel."""
    for one, other in zip(
        packed.split(tf.gather(left, row)), packed.split(tf.gather(right, row))
    ):
        mixed = one * columns.first_weight + other * columns.second_weight
        yield _shift(_shift(mixed, 4) * weight[:, tf.newaxis], 16)


def _step(full_size: tf.Tensor, source_size: tf.Tensor) -> tf.Tensor:
    """Source pixels per resized pixel, by OpenCV's detour over the inverse; float64."""
    inverse = tf.cast(full_size, tf.float64) / tf.cast(source_size, tf.float64)
    return 1.0 / inverse


def _linear_coordinates(positions, full_size, source_size):
    """Index before each position's centre, int32, and distance to it, float32."""
    step = _step(full_size, source_size)
    source = (tf.cast(positions, tf.float64) + 0.5) * step - 0.5
    source = tf.cast(source, tf.float32)
    first = tf.floor(source)
    return tf.cast(first, tf.int32), source - first


def _linear_weights(positions, fraction):
    """Both weights in 1/2048, rounded half to even; int32, 0 for padding."""
    weights = tf.stack([1.0 - fraction, fraction]) * 2048.0
    weights = tf.cast(tf.round(weights), tf.int32)
    return tf.unstack(tf.where(positions < 0, 0, weights))
