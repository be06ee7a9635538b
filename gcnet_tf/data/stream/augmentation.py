"""The augmentation: resize, crop, flip and padding of (image, label) by a seed.

The reference resizes the whole image, crops a window, flips it and pads it
(docs/reference.md, sections 5.1 to 5.4). Each of these steps treats rows and columns
separately. Therefore crop, flip and padding only choose *positions* here: for each
output row or column its row or column in the resized image, or -1 for padding. The
pixels are then computed once from the source image, and only for the window. The result
is the same, bit for bit.

All functions work eagerly and inside `tf.data`; the same seed gives the same result.
Seeds are int32 or int64 of shape (2,).
"""

from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.stream import packed, photometric, render, resample
from gcnet_tf.data.stream.balance import (
    Balance,
    balanced_corner,
    class_counts,
    is_balanced,
    label_runs,
)
from gcnet_tf.data.stream.resample import window_positions

# Number of windows that are checked; the window drawn after them is taken unchecked.
NUM_CROP_CHECKS = 10


def augment(
    image: tf.Tensor,
    label: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_scale: tuple[int, int],
    ratio_range: tuple[float, float],
    crop_size: tuple[int, int],
    category_max_ratio: float,
    flip_probability: float,
    photometric_distortion: bool,
    balance: Balance | None = None,
) -> dict[str, tf.Tensor]:
    """Makes one training sample: resizes, crops, flips, distorts colours and pads.

    Args:
        image: uint8 RGB (height, width, 3).
        label: uint8 (height, width).
        seed: int32 or int64 (2,).
        base_scale: two bounds in pixels, see `keep_ratio_size`.
        ratio_range: bounds of the random factor on `base_scale`.
        crop_size: (height, width) of the result.
        category_max_ratio: see `choose_crop`.
        flip_probability: probability of a horizontal flip.
        photometric_distortion: true to change the colours.
        balance: chooses some crops by a class; None for none.

    Returns:
        "image": uint8 RGB (*crop_size, 3), zero in the padding below and right of the
        valid part; "label": uint8 crop_size, 255 in the padding; "valid_size": int32
        (2,), height and width of the valid part.
    """
    image, label = tf.convert_to_tensor(image), tf.convert_to_tensor(label)
    plan = make_plan(
        label,
        seed,
        base_scale=base_scale,
        ratio_range=ratio_range,
        crop_size=crop_size,
        category_max_ratio=category_max_ratio,
        flip_probability=flip_probability,
        balance=balance,
    )
    distortion = plan.distortion if photometric_distortion else None
    image, label = render.render(image, label, plan.window, distortion)
    image.set_shape((*crop_size, 3))
    label.set_shape(crop_size)
    return {"image": image, "label": label, "valid_size": plan.valid_size}


class Plan(NamedTuple):
    """All random choices for one sample."""

    full_size: tf.Tensor
    """int32 (2,), height and width that the whole image is resized to."""
    corner: tf.Tensor
    """int32 (2,), top and left of the crop in the resized image."""
    valid_size: tf.Tensor
    """int32 (2,), height and width of the crop without padding."""
    flip: tf.Tensor
    """bool, true for a horizontal flip."""
    window: render.Window
    """Source rows and columns of each row and column of the crop."""
    distortion: photometric.Distortion
    """Changes of the colours."""


def make_plan(
    label: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_scale: tuple[int, int],
    ratio_range: tuple[float, float],
    crop_size: tuple[int, int],
    category_max_ratio: float,
    flip_probability: float,
    balance: Balance | None = None,
) -> Plan:
    """Draws the random choices of `augment`; they depend on the label, not the image.

    The arguments are those of `augment`.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    source_size = tf.shape(label)
    scale = random_scale(seeds[0], base_scale, ratio_range)
    full_size = keep_ratio_size(source_size[0], source_size[1], scale)
    corner = choose_crop(label, full_size, seeds[1], crop_size, category_max_ratio)
    if balance is not None:
        corner = balanced_corner(label, full_size, seed, crop_size, corner, balance)
    flip = tf.random.stateless_uniform((), seeds[2]) < flip_probability
    valid_size = tf.minimum(full_size, crop_size)
    rows = window_positions(corner[0], valid_size[0], crop_size[0])
    columns = window_positions(corner[1], valid_size[1], crop_size[1], flip)
    window = render.make_window(rows, columns, full_size, source_size)
    distortion = distortion_of(seed)
    return Plan(full_size, corner, valid_size, flip, window, distortion)


def distortion_of(seed: tf.Tensor) -> photometric.Distortion:
    """Returns the changes of the colours that `augment` makes with this seed."""
    seeds = tf.random.experimental.stateless_split(seed, 4)
    return photometric.draw_distortion(seeds[3])


def random_scale(
    seed: tf.Tensor, base_scale: tuple[int, int], ratio_range: tuple[float, float]
) -> tf.Tensor:
    """Multiplies `base_scale` by one random factor and truncates; int32 (2,)."""
    low, high = ratio_range
    ratio = tf.random.stateless_uniform((), seed, dtype=tf.float64)
    ratio = ratio * (high - low) + low
    return tf.cast(tf.constant(base_scale, tf.float64) * ratio, tf.int32)


def keep_ratio_size(
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    scale: tuple[int, int] | tf.Tensor,
) -> tf.Tensor:
    """Returns the largest size of the same shape within `scale`, rounded as in mmcv.

    Args:
        height: height of the source, in pixels.
        width: width of the source, in pixels.
        scale: two bounds in pixels, in any order: the larger one limits the long side,
            the smaller one the short side.

    Returns:
        int32 (2,), height and width, at least 1.
    """
    size = tf.cast(tf.stack([height, width]), tf.float64)
    scale = tf.cast(scale, tf.float64)
    factor = tf.minimum(
        tf.reduce_max(scale) / tf.reduce_max(size),
        tf.reduce_min(scale) / tf.reduce_min(size),
    )
    return tf.maximum(tf.cast(size * factor + 0.5, tf.int32), 1)


def choose_crop(
    label: tf.Tensor,
    full_size: tf.Tensor,
    seed: tf.Tensor,
    crop_size: tuple[int, int],
    category_max_ratio: float,
) -> tf.Tensor:
    """Chooses a window of the resized image in which no class covers too much.

    Up to 10 windows are checked on the resized label; if none is accepted, an 11th is
    taken unchecked. A window is accepted if it holds more than one class and the most
    frequent class covers less than `category_max_ratio` of the pixels that are not 255.

    Args:
        label: uint8 (height, width), at source size.
        full_size: int32 (2,), height and width that the image is resized to.
        seed: int32 or int64 (2,).
        crop_size: (height, width) of the window.
        category_max_ratio: in (0, 1]; 1 takes the first window.

    Returns:
        int32 (2,), top and left of the window in the resized image.
    """
    label, full_size = tf.convert_to_tensor(label), tf.convert_to_tensor(full_size)
    corners = draw_corners(seed, full_size, crop_size)
    # If only one window fits, a check could not change the choice.
    has_choice = tf.reduce_any(full_size > tf.constant(crop_size))
    if category_max_ratio >= 1:
        return corners[0]
    valid_size = tf.minimum(full_size, crop_size)
    runs = label_runs(label)

    def is_rejected(check):
        counts = class_counts(runs, full_size, corners[check], valid_size)
        return tf.logical_not(is_balanced(counts, category_max_ratio))

    def go_on(check):
        return tf.cond(
            has_choice & (check < NUM_CROP_CHECKS),
            lambda: is_rejected(check),
            lambda: False,
        )

    (check,) = tf.while_loop(go_on, lambda check: (check + 1,), (tf.constant(0),))
    return corners[check]


def draw_corners(
    seed: tf.Tensor, full_size: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """Draws the top left corners of all windows that may be needed; int32 (11, 2)."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    room = tf.maximum(tf.subtract(full_size, crop_size), 0)
    offsets = [
        tf.random.stateless_uniform(
            (NUM_CROP_CHECKS + 1,),
            seeds[axis],
            minval=0,
            maxval=room[axis] + 1,
            dtype=tf.int32,
        )
        for axis in range(2)
    ]
    return tf.stack(offsets, axis=1)


def resize_window(
    image: tf.Tensor,
    full_size: tf.Tensor,
    top: int | tf.Tensor,
    left: int | tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
) -> tf.Tensor:
    """Computes a window of the bilinearly resized image without resizing the rest.

    The result equals `cv2.resize(image, …, INTER_LINEAR)` followed by slicing.

    Args:
        image: uint8 RGB (source height, source width, 3).
        full_size: int32 (2,), height and width that the whole image is resized to.
        top: first row of the window in the resized image.
        left: first column of the window in the resized image.
        height: height of the window; rows outside of the resized image are zero.
        width: width of the window; columns outside of the resized image are zero.

    Returns:
        uint8 RGB (height, width, 3).
    """
    full_size = tf.convert_to_tensor(full_size)
    source_size = tf.shape(image)
    rows = window_positions(top, full_size[0] - top, height)
    columns = window_positions(left, full_size[1] - left, width)
    window = render.make_window(rows, columns, full_size, source_size)
    return packed.unpack(
        resample.mix(packed.pack(image), window.row_taps, window.column_taps)
    )
