"""RGB pixels as one number each: red + 256 green + 65536 blue, int32.

A step on 8-bit images is one expression per pixel then. On arrays (..., 3) XLA does the
work that the channels share, such as finding the hue, once for each of them, and with
the channels beside each other it cannot use the processor's vectors well.
"""

import tensorflow as tf

_SHIFTS = (0, 8, 16)


def pack(image: tf.Tensor) -> tf.Tensor:
    """uint8 RGB (..., 3) to int32 (...)."""
    return join(*tf.unstack(tf.cast(image, tf.int32), axis=-1))


def unpack(pixels: tf.Tensor) -> tf.Tensor:
    """int32 (...) to uint8 RGB (..., 3)."""
    return tf.cast(_channel(pixels[..., tf.newaxis], _SHIFTS), tf.uint8)


def split(pixels: tf.Tensor) -> list[tf.Tensor]:
    """Red, green and blue of packed pixels, each int32 in 0..255."""
    return [_channel(pixels, shift) for shift in _SHIFTS]


def join(red: tf.Tensor, green: tf.Tensor, blue: tf.Tensor) -> tf.Tensor:
    """The reverse of `split`."""
    return red + green * 2**8 + blue * 2**16


def _channel(pixels, shift):
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(pixels, shift), 255)
