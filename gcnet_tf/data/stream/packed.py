"""RGB pixels packed into one number each: red + 256 green + 65536 blue, int32.

A step on 8-bit images is then one expression per pixel. On arrays (..., 3), XLA would
repeat the work that the channels share, such as finding the hue, for each of the three,
and it could not use the processor's vector units well, because the channels of a pixel
are beside each other.
"""

import tensorflow as tf

_SHIFTS = (0, 8, 16)


def pack(image: tf.Tensor) -> tf.Tensor:
    """Packs uint8 RGB (..., 3) into int32 (...)."""
    return join(*tf.unstack(tf.cast(image, tf.int32), axis=-1))


def unpack(pixels: tf.Tensor) -> tf.Tensor:
    """Unpacks int32 (...) to uint8 RGB (..., 3)."""
    return tf.cast(_channel(pixels[..., tf.newaxis], _SHIFTS), tf.uint8)


def split(pixels: tf.Tensor) -> list[tf.Tensor]:
    """Returns red, green and blue of packed pixels, each int32 in 0..255."""
    return [_channel(pixels, shift) for shift in _SHIFTS]


def join(red: tf.Tensor, green: tf.Tensor, blue: tf.Tensor) -> tf.Tensor:
    """Packs red, green and blue, each int32 in 0..255; the reverse of `split`."""
    return red + green * 2**8 + blue * 2**16


def _channel(pixels, shift):
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(pixels, shift), 255)
