"""Random brightness, contrast, saturation and hue on 8-bit RGB images.

The reference works on 8-bit images, and each of its steps returns to 8 bits by
truncation. The rounding is therefore a part of the training images (docs/reference.md,
section 5.5). The colour space conversions here repeat OpenCV's 8-bit arithmetic: RGB to
HSV exactly, HSV to RGB to within one level (OpenCV's own result differs from machine to
machine there).

All functions work eagerly, inside `tf.data` and compiled by XLA. Integers below 2^24
are exact in float32, which makes RGB to HSV exact without integer tables.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from gcnet_tf.data.stream import packed

# OpenCV stores the hue in steps of 2 degrees, so that it fits into 8 bits.
NUM_HUES = 180.0
_FIXED_POINT = 4096.0


class Distortion(NamedTuple):
    """The random choices for one image; each field is a scalar tensor."""

    change_brightness: tf.Tensor
    """bool"""
    brightness: tf.Tensor
    """float32 in [-32, 32), added."""
    change_contrast: tf.Tensor
    """bool"""
    contrast: tf.Tensor
    """float32 in [0.5, 1.5), a factor."""
    contrast_first: tf.Tensor
    """bool; true: contrast comes before saturation and hue, false: after them."""
    change_saturation: tf.Tensor
    """bool"""
    saturation: tf.Tensor
    """float32 in [0.5, 1.5), a factor."""
    change_hue: tf.Tensor
    """bool"""
    hue_shift: tf.Tensor
    """int32 in [-18, 17], in steps of 2 degrees."""


def draw_distortion(seed: tf.Tensor) -> Distortion:
    """Draws the random choices for one image.

    Args:
        seed: int32 or int64 (2,).
    """
    seeds = tf.random.experimental.stateless_split(seed, 3)
    coins = tf.random.stateless_uniform((5,), seeds[0]) < 0.5
    amounts = tf.random.stateless_uniform((3,), seeds[1])
    # The upper bound is excluded, as in the reference.
    hue_shift = tf.random.stateless_uniform(
        (), seeds[2], minval=-18, maxval=18, dtype=tf.int32
    )
    return Distortion(
        change_brightness=coins[0],
        brightness=amounts[0] * 64.0 - 32.0,
        change_contrast=coins[1],
        contrast=amounts[1] + 0.5,
        contrast_first=coins[2],
        change_saturation=coins[3],
        saturation=amounts[2] + 0.5,
        change_hue=coins[4],
        hue_shift=hue_shift,
    )


def distort(image: tf.Tensor, distortion: Distortion) -> tf.Tensor:
    """Applies the chosen steps to an image, in the reference's order.

    Args:
        image: uint8 RGB (..., 3).
        distortion: the choices, see `draw_distortion`.

    Returns:
        uint8 RGB (..., 3).
    """
    return packed.unpack(distort_packed(packed.pack(image), distortion))


def distort_packed(pixels: tf.Tensor, distortion: Distortion) -> tf.Tensor:
    """Applies `distort` to packed pixels, int32 (...)."""
    for is_chosen, step, amount in steps_of(distortion):
        compiled = _compiled[step]
        pixels = tf.cond(is_chosen, lambda: compiled(pixels, amount), lambda: pixels)
    return pixels


# One XLA kernel around all: TensorFlow's own kernels want the int32 numbers of packing,
# as many as there are pixels, in the memory of the host, also where a GPU computes.
@tf.function(jit_compile=True, reduce_retracing=True, autograph=False)
def distort_batch(
    images: tf.Tensor, distortion: Distortion, valid_size: tf.Tensor
) -> tf.Tensor:
    """Applies `distort` to a whole batch at once, without branches, on an accelerator.

    Args:
        images: uint8 RGB (batch, height, width, 3).
        distortion: the choices for each image; fields (batch,).
        valid_size: int32 (batch, 2), height and width without the padding.

    Returns:
        uint8 RGB (batch, height, width, 3), zero in the padding.
    """
    # (batch, 1, 1), so that the value of an image applies to all its pixels.
    distortion = Distortion(*(field[:, None, None] for field in distortion))
    pixels = packed.pack(images)
    for is_chosen, step, amount in steps_of(distortion):
        pixels = tf.where(is_chosen, step(pixels, amount), pixels)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    rows = tf.sequence_mask(valid_size[:, 0], height)
    columns = tf.sequence_mask(valid_size[:, 1], width)
    valid = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return packed.unpack(tf.where(valid, pixels, 0))


def steps_of(distortion: Distortion) -> tuple[tuple[tf.Tensor, Callable, Any], ...]:
    """Returns the steps in the reference's order.

    Returns:
        For each step: a bool tensor, true if the step is chosen; the function for the
        step on packed pixels; and its amount.
    """
    contrast_last = tf.logical_not(distortion.contrast_first)
    return (
        (distortion.change_brightness, _brightness, distortion.brightness),
        (
            distortion.change_contrast & distortion.contrast_first,
            _contrast,
            distortion.contrast,
        ),
        (distortion.change_saturation, _saturation, distortion.saturation),
        (distortion.change_hue, _hue, distortion.hue_shift),
        (distortion.change_contrast & contrast_last, _contrast, distortion.contrast),
    )


def change_brightness(image: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Adds `offset` to every value, clips and truncates; uint8 in and out."""
    return packed.unpack(_compiled[_brightness](packed.pack(image), offset))


def change_contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies every value by `factor`, clips and truncates; uint8 in and out."""
    return packed.unpack(_compiled[_contrast](packed.pack(image), factor))


def change_saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the 8-bit saturation by `factor`; uint8 RGB in and out."""
    return packed.unpack(_compiled[_saturation](packed.pack(image), factor))


def change_hue(image: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Turns the hue by `shift` (int32, steps of 2 degrees); uint8 RGB in and out."""
    return packed.unpack(_compiled[_hue](packed.pack(image), shift))


def rgb_to_hsv(
    red: tf.Tensor, green: tf.Tensor, blue: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Converts RGB to HSV as OpenCV does in 8 bits, exactly for all 2^24 colours.

    Args:
        red: float32, whole numbers in 0..255.
        green: float32, whole numbers in 0..255.
        blue: float32, whole numbers in 0..255.

    Returns:
        hue in 0..179, saturation and value in 0..255, float32 with whole numbers only.
    """
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    saturation = _fixed_point(spread * _reciprocal(value, 255.0))
    hue = tf.where(
        value == red,
        green - blue,
        tf.where(value == green, blue - red + 2.0 * spread, red - green + 4.0 * spread),
    )
    hue = _fixed_point(hue * _reciprocal(spread, NUM_HUES / 6.0))
    return tf.where(hue < 0.0, hue + NUM_HUES, hue), saturation, value


def hsv_to_rgb(
    hue: tf.Tensor, saturation: tf.Tensor, value: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Converts HSV to RGB as OpenCV does in 8 bits, to within one level.

    The result is that before OpenCV's truncation. A channel is v - v * s * share. From
    60 degrees past the channel's own colour on, `share` rises for one sixth of the
    circle, is 1 for two sixths, falls for one and is 0 for two. This is the usual table
    of six sectors, in a form that is the same for all three channels.

    Args:
        hue: float32 in [0, 180).
        saturation: float32 in 0..255.
        value: float32 in 0..255.

    Returns:
        red, green and blue, float32 in [0, 255].
    """
    # Reciprocals and the fraction are as in OpenCV. With divisions, or with another
    # place for the fraction, three times as many values differ from OpenCV's by one.
    sextant = hue * (1.0 / 30.0)
    fraction = sextant - tf.floor(sextant)
    saturation = saturation * (1.0 / 255.0)
    value = value * (1.0 / 255.0)

    def channel(turn):
        turned = _wrapped(hue + turn)
        share = tf.where(
            turned < 90.0,
            tf.where(turned < 30.0, fraction, 1.0),
            tf.where(turned < 120.0, 1.0 - fraction, 0.0),
        )
        return (value - value * saturation * share) * 255.0

    return channel(150.0), channel(90.0), channel(30.0)


def _brightness(pixels, offset):
    return _from_floats(channel + offset for channel in _to_floats(pixels))


def _contrast(pixels, factor):
    return _from_floats(channel * factor for channel in _to_floats(pixels))


def _saturation(pixels, factor):
    hue, saturation, value = rgb_to_hsv(*_to_floats(pixels))
    saturation = tf.floor(tf.minimum(saturation * factor, 255.0))
    return _from_floats(hsv_to_rgb(hue, saturation, value))


def _hue(pixels, shift):
    hue, saturation, value = rgb_to_hsv(*_to_floats(pixels))
    # floormod of the shift and not of every pixel, because it takes as long as all the
    # rest of this function.
    turn = tf.math.floormod(tf.cast(shift, tf.float32), NUM_HUES)
    return _from_floats(hsv_to_rgb(_wrapped(hue + turn), saturation, value))


def _wrapped(hue):
    """Maps hues in [0, 360) to [0, 180)."""
    return tf.where(hue >= NUM_HUES, hue - NUM_HUES, hue)


def _to_floats(pixels):
    return [tf.cast(channel, tf.float32) for channel in packed.split(pixels)]


def _from_floats(channels):
    """Clips and truncates red, green and blue, and packs them."""
    return packed.join(
        *(tf.cast(tf.clip_by_value(x, 0.0, 255.0), tf.int32) for x in channels)
    )


def _reciprocal(divisor: tf.Tensor, scale: float) -> tf.Tensor:
    """Returns round(4096 * scale / divisor), as in OpenCV's tables.

    A divisor of 0 counts as 1; the result is multiplied by 0 then.
    """
    return tf.round(_FIXED_POINT * scale / tf.maximum(divisor, 1.0))


def _fixed_point(product: tf.Tensor) -> tf.Tensor:
    """Returns (product + 2048) >> 12, which rounds to the nearest integer."""
    return tf.floor((product + _FIXED_POINT / 2.0) * (1.0 / _FIXED_POINT))


# Each step is one XLA kernel, so that it reads and writes every pixel only once.
_compiled = {
    step: tf.function(step, jit_compile=True, reduce_retracing=True, autograph=False)
    for step in (_brightness, _contrast, _saturation, _hue)
}
