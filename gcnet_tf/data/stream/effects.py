"""Further changes to a crop: rotation, blur, grey, and holes.

They come after the colours, in this order. The padding stays as it is. Each is one XLA
kernel for the crop's size, whose random amount is drawn outside (see `render`). All
functions work eagerly and inside `tf.data`.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL

# Makes these random numbers differ from all others of the same seed.
_STREAM = 12


class Effects(NamedTuple):
    """Largest amounts, as in the configuration's section `augment`; 0 for none."""

    rotation: float = 0.0
    """Degrees, to either side."""
    blur: float = 0.0
    """Standard deviation of the Gaussian, in pixels."""
    grey: float = 0.0
    """Probability."""
    cut_out: float = 0.0
    """Share of the height, and of the width."""


def change(
    image: tf.Tensor,
    label: tf.Tensor,
    valid_size: tf.Tensor,
    seed: tf.Tensor,
    effects: Effects,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the changes with amounts that are drawn evenly up to the largest ones.

    Args:
        image: uint8 RGB (height, width, 3), zero in the padding.
        label: uint8 (height, width), 255 in the padding.
        valid_size: int32 (2,), height and width without the padding.
        seed: int32 or int64 (2,), the sample's.
        effects: the largest amounts.

    Returns:
        The changed image and label.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, _STREAM)
    draws = tf.unstack(tf.random.stateless_uniform((7,), seed))
    if effects.rotation:
        angle = (2 * draws[0] - 1) * effects.rotation
        image, label = rotate(image, label, valid_size, angle)
    if effects.blur:
        image = blur(image, valid_size, draws[1] * effects.blur, effects.blur)
    if effects.grey:
        image = tf.cond(draws[2] < effects.grey, lambda: to_grey(image), lambda: image)
    if effects.cut_out:
        size = tf.stack(draws[3:5]) * effects.cut_out
        image, label = cut_out(image, label, valid_size, size, tf.stack(draws[5:]))
    return image, label


@tf.function(jit_compile=True, autograph=False)
def rotate(
    image: tf.Tensor, label: tf.Tensor, valid_size: tf.Tensor, angle: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates the valid part about its centre, counter-clockwise.

    The image is interpolated bilinearly, with 0 outside, and rounded; the label takes
    the nearest pixel, and 255 outside.

    Args:
        image, label, valid_size: as in `change`.
        angle: float32, in degrees.
    """
    height, width = label.shape
    valid = tf.cast(valid_size, tf.float32)
    centre = (valid - 1) / 2
    cosine, sine = tf.cos(angle * math.pi / 180), tf.sin(angle * math.pi / 180)
    down = (tf.range(height, dtype=tf.float32) - centre[0])[:, tf.newaxis]
    right = (tf.range(width, dtype=tf.float32) - centre[1])[tf.newaxis]
    # Where the pixel comes from: the rotation back.
    rows = sine * right + cosine * down + centre[0]  # (height, width)
    columns = cosine * right - sine * down + centre[1]  # (height, width)
    pixels = tf.reshape(image, [height * width, 3])

    def inside(row, column):
        in_rows = (row >= 0) & (row < valid[0])
        return in_rows & (column >= 0) & (column < valid[1])

    def index(row, column):
        row = tf.clip_by_value(tf.cast(row, tf.int32), 0, height - 1)
        column = tf.clip_by_value(tf.cast(column, tf.int32), 0, width - 1)
        return row * width + column

    top, left = tf.floor(rows), tf.floor(columns)
    total = tf.zeros([height, width, 3])
    for row, row_share in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, share in ((left, left + 1 - columns), (left + 1, columns - left)):
            share = tf.where(inside(row, column), row_share * share, 0.0)
            part = tf.cast(tf.gather(pixels, index(row, column)), tf.float32)
            total += share[..., tf.newaxis] * part
    nearest = tf.floor(rows + 0.5), tf.floor(columns + 0.5)
    values = tf.gather(tf.reshape(label, [-1]), index(*nearest))
    positions = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis]
    here = (positions[0] < valid_size[0]) & (positions[1] < valid_size[1])
    ignored = tf.constant(IGNORE_LABEL, tf.uint8)
    label = tf.where(here & inside(*nearest), values, ignored)
    total = tf.where(here[..., tf.newaxis], total, 0.0)
    return tf.cast(tf.round(total), tf.uint8), label


def blur(
    image: tf.Tensor, valid_size: tf.Tensor, deviation: tf.Tensor, largest: float
) -> tf.Tensor:
    """Blurs the valid part with a Gaussian; pixels outside have no part in the means.

    Args:
        image, valid_size: as in `change`.
        deviation: float32, standard deviation in pixels.
        largest: the largest one, of which the window has three to each side.

    Returns:
        uint8 RGB (height, width, 3), rounded.
    """
    radius = math.ceil(3 * largest)
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    # Below a hundredth of a pixel nothing is mixed.
    exponents = -0.5 * (offsets / tf.maximum(deviation, 0.01)) ** 2
    return _blurred(image, valid_size, tf.exp(exponents))


@tf.function(jit_compile=True, autograph=False)
def _blurred(image, valid_size, weights):
    radius = weights.shape[0] // 2
    values = tf.cast(image, tf.float32)
    for axis in range(2):
        size = image.shape[axis]
        inside = tf.cast(tf.range(size) < valid_size[axis], tf.float32)
        total, count = 0.0, 0.0
        paddings = [[radius, radius] if axis == a else [0, 0] for a in range(3)]
        padded, counted = tf.pad(values, paddings), tf.pad(inside, [[radius, radius]])
        for shift in range(2 * radius + 1):
            part = padded[shift : shift + size]
            if axis == 1:
                part = padded[:, shift : shift + size]
            total += weights[shift] * part
            count += weights[shift] * counted[shift : shift + size]
        count = tf.where(inside > 0, count, 1.0)
        values = total / tf.reshape(count, [-1, 1, 1] if axis == 0 else [-1, 1])
        shape = [-1, 1, 1] if axis == 0 else [-1, 1]
        values = values * tf.reshape(inside, shape)
    return tf.cast(tf.round(values), tf.uint8)


@tf.function(jit_compile=True, autograph=False)
def to_grey(image: tf.Tensor) -> tf.Tensor:
    """Replaces the colours by OpenCV's grey, bit for bit; uint8 RGB in and out."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    grey = tf.bitwise.right_shift(9798 * red + 19235 * green + 3735 * blue + 2**14, 15)
    return tf.repeat(tf.cast(grey, tf.uint8)[..., tf.newaxis], 3, axis=-1)


@tf.function(jit_compile=True, autograph=False)
def cut_out(
    image: tf.Tensor,
    label: tf.Tensor,
    valid_size: tf.Tensor,
    size: tf.Tensor,
    place: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts a rectangle out of the valid part: 0 in the image, 255 in the label.

    Args:
        image, label, valid_size: as in `change`.
        size: float32 (2,), shares of height and width; rounded down to pixels, at
            least one.
        place: float32 (2,) in [0, 1), shares of the places that the top left corner can
            have.
    """
    shape = tf.cast(valid_size, tf.float32)
    pixels = tf.maximum(tf.floor(size * shape), 1.0)
    corner = tf.floor(place * (shape - pixels + 1))
    hole = tf.constant(True)
    for axis, axis_shape in enumerate(([-1, 1], [1, -1])):
        at = tf.range(label.shape[axis], dtype=tf.float32)
        inside = (at >= corner[axis]) & (at < corner[axis] + pixels[axis])
        hole &= tf.reshape(inside, axis_shape)
    zero, ignored = tf.constant(0, tf.uint8), tf.constant(IGNORE_LABEL, tf.uint8)
    return tf.where(hole[..., tf.newaxis], zero, image), tf.where(hole, ignored, label)
