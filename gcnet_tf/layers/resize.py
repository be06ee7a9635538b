"""Bilinear resizing with either convention for the corners."""

from collections.abc import Sequence

import tensorflow as tf


def resize_bilinear(
    images: tf.Tensor, size: Sequence[int] | tf.Tensor, align_corners: bool
) -> tf.Tensor:
    """Resizes `(batch, height, width, channels)` to `size` = (height, width).

    Args:
        images: any floating type; float64 stays, all else becomes float32.
        size: two integers, or an int32 tensor of shape (2,).
        align_corners: True maps the centres of the corner pixels onto each other,
            False the borders of the image (PyTorch's `interpolate` has both). No
            antialiasing in either case.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.float64:
        return _resize_float64(images, size, align_corners)
    images = tf.cast(images, tf.float32)
    if align_corners:
        return tf.raw_ops.ResizeBilinear(
            images=images, size=size, align_corners=True, half_pixel_centers=False
        )
    return tf.image.resize(images, size, method="bilinear", antialias=False)


def _resize_float64(
    images: tf.Tensor, size: Sequence[int] | tf.Tensor, align_corners: bool
) -> tf.Tensor:
    """Resizes rows, then columns; TensorFlow's operations return float32 here, too."""
    for axis in (1, 2):
        length = tf.shape(images)[axis]
        low, high, share = _neighbours(length, size[axis - 1], align_corners)
        # (new_height, 1, 1) or (new_width, 1), which count as (1, …, 1)
        share = tf.reshape(share, [-1, 1, 1] if axis == 1 else [-1, 1])
        images = (1 - share) * tf.gather(images, low, axis=axis) + share * tf.gather(
            images, high, axis=axis
        )
    return images


def _neighbours(
    length: tf.Tensor, new_length: int | tf.Tensor, align_corners: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Finds the old positions beside each new one, and the share of the second.

    Returns:
        Three of shape `(new_length,)`: int32, int32 and float64 in [0, 1].
    """
    old = tf.cast(length, tf.float64)
    new = tf.cast(new_length, tf.float64)
    position = tf.range(new)
    if align_corners:
        source = position * (old - 1) / tf.maximum(new - 1, 1)
    else:
        source = tf.maximum((position + 0.5) * old / new - 0.5, 0)
    low = tf.minimum(tf.cast(source, tf.int32), length - 1)
    return low, tf.minimum(low + 1, length - 1), source - tf.cast(low, tf.float64)
