"""Bilinear resizing with either convention for the corners."""

import tensorflow as tf


def resize_bilinear(images, size, align_corners: bool):
    """Resizes `(batch, height, width, channels)` to `size` = (height, width).

    Args:
        images: any floating type; the result is float32.
        size: two integers, or an int32 tensor of shape (2,).
        align_corners: True maps the centres of the corner pixels onto each other,
            False the borders of the image (PyTorch's `interpolate` has both). No
            antialiasing in either case.
    """
    images = tf.cast(images, tf.float32)
    if align_corners:
        return tf.raw_ops.ResizeBilinear(
            images=images, size=size, align_corners=True, half_pixel_centers=False
        )
    return tf.image.resize(images, size, method="bilinear", antialias=False)
