"""Random resize, crop, flip and padding of (image, label) as functions of a seed.

The reference enlarges the whole image, cuts a window out, mirrors it and pads it
(parity spec 5.1 to 5.4). Every pixel of the result depends on its row and its column
separately, so here the crop, the mirror and the padding only choose *positions*: for
each output row and column, its row or column in the resized image, or -1 for padding.
The pixels are then computed once, for the window alone, from the source image. The
result is the same, bit for bit.

All functions work eagerly and inside `tf.data`; the same seed gives the same result.
Seeds are int32 or int64 of shape (2,).
"""

import tensorflow as tf

from gcnet_tf.data import photometric, resample
from gcnet_tf.data.catalog import IGNORE_LABEL

# A crop is checked this often; the box drawn after that is taken unchecked.
NUM_CROP_CHECKS = 10

_BUCKETS = [2**exponent for exponent in range(8, 17)]


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
) -> dict[str, tf.Tensor]:
    """Makes one training sample: resize, crop, flip, distort colours, pad.

    Args:
        image: uint8 RGB (height, width, 3).
        label: uint8 (height, width).
        seed: int32 or int64 (2,).
        base_scale: two bounds in pixels, see `keep_ratio_size`.
        ratio_range: bounds of the random factor on `base_scale`.
        crop_size: (height, width) of the result.
        category_max_ratio: see `choose_crop`.
        flip_probability: probability of mirroring left and right.
        photometric_distortion: whether colours are changed.

    Returns:
        "image" uint8 (*crop_size, 3) with zeros below and right of the valid part,
        "label" uint8 crop_size with 255 there, "valid_size" int32 (2,) height, width.
    """
    image, label = tf.convert_to_tensor(image), tf.convert_to_tensor(label)
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    source_size = tf.shape(label)
    scale = random_scale(seeds[0], base_scale, ratio_range)
    full_size = keep_ratio_size(source_size[0], source_size[1], scale)
    corner = choose_crop(label, full_size, seeds[1], crop_size, category_max_ratio)
    flip = tf.random.stateless_uniform((), seeds[2]) < flip_probability
    valid_size = tf.minimum(full_size, crop_size)
    rows = window_positions(corner[0], valid_size[0], crop_size[0])
    columns = window_positions(corner[1], valid_size[1], crop_size[1], flip)

    taps = (
        resample.linear_row_taps(rows, full_size[0], source_size[0]),
        resample.linear_column_taps(columns, full_size[1], source_size[1]),
    )
    label_indices = (
        resample.nearest_index(rows, full_size[0], source_size[0]),
        resample.nearest_index(columns, full_size[1], source_size[1]),
    )
    distortion = (
        photometric.draw_distortion(seeds[3]) if photometric_distortion else None
    )
    image, label = _compiled_render(
        *_needed_region(image, label, taps, label_indices), distortion
    )
    image.set_shape((*crop_size, 3))
    label.set_shape(crop_size)
    return {"image": image, "label": label, "valid_size": valid_size}


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
    """The largest size of the same shape within `scale`, rounded as mmcv does.

    Args:
        height: of the source, in pixels.
        width: of the source, in pixels.
        scale: two bounds in any order: the larger one limits the long side, the smaller
            one the short side.

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

    Up to 10 windows are checked on the resized label; when none is accepted, an 11th is
    taken unchecked. A window is accepted when it holds more than one class and the most
    frequent one covers less than `category_max_ratio` of the pixels that are not 255.

    Args:
        label: uint8 (height, width), at source size.
        full_size: int32 (2,), size that the image is resized to.
        seed: int32 or int64 (2,).
        crop_size: (height, width) of the window.
        category_max_ratio: in (0, 1]; 1 takes the first window.

    Returns:
        int32 (2,), top and left in the resized image.
    """
    label, full_size = tf.convert_to_tensor(label), tf.convert_to_tensor(full_size)
    corners = draw_corners(seed, full_size, crop_size)
    # With room for only one window there is nothing to choose.
    has_choice = tf.reduce_any(full_size > tf.constant(crop_size))
    if category_max_ratio >= 1:
        return corners[0]
    valid_size = tf.minimum(full_size, crop_size)

    def is_rejected(check):
        counts = _class_counts(label, full_size, corners[check], valid_size)
        return tf.logical_not(_is_balanced(counts, category_max_ratio))

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


def window_positions(
    start: tf.Tensor,
    num_valid: tf.Tensor,
    size: int | tf.Tensor,
    reverse: bool | tf.Tensor = False,
) -> tf.Tensor:
    """Positions of a window along one axis of the resized image.

    Args:
        start: first position.
        num_valid: how many positions the window takes from the image.
        size: length of the result; what exceeds `num_valid` is padding at the end.
        reverse: whether the valid part runs backwards (a mirror image).

    Returns:
        int32 (size,), with -1 for padding.
    """
    index = tf.range(size)
    offset = tf.where(reverse, num_valid - 1 - index, index)
    return tf.where(index < num_valid, start + offset, resample.PADDING)


def resize_window(
    image: tf.Tensor,
    full_size: tf.Tensor,
    top: int | tf.Tensor,
    left: int | tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
) -> tf.Tensor:
    """A window of the bilinearly resized image, without resizing the rest.

    Equal to `cv2.resize(image, …, INTER_LINEAR)` followed by slicing.

    Args:
        image: uint8 (source height, source width, channels).
        full_size: int32 (2,), height and width that the whole image is resized to.
        top: of the window in the resized image.
        left: of the window in the resized image.
        height: of the window; rows outside of the resized image are zero.
        width: of the window; columns outside of the resized image are zero.

    Returns:
        uint8 (height, width, channels).
    """
    full_size = tf.convert_to_tensor(full_size)
    source_size = tf.shape(image)
    rows = window_positions(top, full_size[0] - top, height)
    columns = window_positions(left, full_size[1] - left, width)
    return resample.mix(
        image,
        resample.linear_row_taps(rows, full_size[0], source_size[0]),
        resample.linear_column_taps(columns, full_size[1], source_size[1]),
    )


def _needed_region(image, label, taps, label_indices):
    """Cuts away what no output pixel needs, pads, and shifts the indices to match.

    XLA compiles once per shape; padding to a power of two leaves it a handful of them.
    """
    new_taps, new_indices, slices, paddings = [], [], [], []
    for axis_taps, label_index in zip(taps, label_indices):
        # Where there is padding the window holds all of this axis, so that the start is
        # 0 and the indices that stand for padding stay in range.
        nearest = tf.maximum(label_index, 0)
        start = tf.minimum(tf.reduce_min(axis_taps.first), tf.reduce_min(nearest))
        stop = tf.maximum(tf.reduce_max(axis_taps.second), tf.reduce_max(nearest)) + 1
        slices.append(slice(start, stop))
        paddings.append((0, _bucket(stop - start) - (stop - start)))
        new_taps.append(
            axis_taps._replace(
                first=axis_taps.first - start, second=axis_taps.second - start
            )
        )
        new_indices.append(
            tf.where(label_index < 0, resample.PADDING, label_index - start)
        )
    image = tf.pad(image[slices[0], slices[1]], (*paddings, (0, 0)))
    label = tf.pad(label[slices[0], slices[1]], paddings)
    return image, label, tuple(new_taps), tuple(new_indices)


def _bucket(size: tf.Tensor) -> tf.Tensor:
    """The next power of two, at least 256."""
    buckets = tf.constant(_BUCKETS)
    return buckets[tf.searchsorted(buckets, [size])[0]]


def _render(image, label, taps, label_indices, distortion):
    """Computes every pixel of the sample; static shapes, so that XLA can compile it."""
    rows, columns = label_indices
    valid = (rows >= 0)[:, tf.newaxis] & (columns >= 0)[tf.newaxis, :]
    image = resample.mix(image, *taps)
    if distortion is not None:
        # The reference changes colours before it pads: padding is zero again after it.
        image = photometric.distort(image, distortion)
        image = tf.where(valid[..., tf.newaxis], image, tf.constant(0, tf.uint8))
    label = tf.gather(label, tf.maximum(rows, 0))
    label = tf.gather(label, tf.maximum(columns, 0), axis=1)
    return image, tf.where(valid, label, tf.constant(IGNORE_LABEL, tf.uint8))


# As one XLA kernel this is 4 to 5 times faster than op by op: nothing but the result is
# written to memory. The random numbers are drawn outside, because XLA's may differ.
_compiled_render = tf.function(_render, jit_compile=True, reduce_retracing=True)


def _class_counts(label, full_size, corner, valid_size):
    """Pixels per label value in a window of the resized label; int32 (256,).

    The resized label repeats (or skips) source rows and columns: rows are gathered, and
    columns are weighted by how often they appear.
    """
    source_size = tf.shape(label)
    rows, columns = (
        resample.nearest_index(
            window_positions(corner[axis], valid_size[axis], valid_size[axis]),
            full_size[axis],
            source_size[axis],
        )
        for axis in range(2)
    )
    start, stop = columns[0], columns[-1] + 1
    region = tf.gather(label[:, start:stop], rows)
    repeats = tf.math.bincount(columns - start, minlength=stop - start)
    # tf.math.bincount would first look for the largest value.
    return tf.raw_ops.DenseBincount(
        input=tf.reshape(tf.cast(region, tf.int32), [-1]),
        size=256,
        weights=tf.reshape(tf.broadcast_to(repeats, tf.shape(region)), [-1]),
    )


def _is_balanced(counts: tf.Tensor, category_max_ratio: float) -> tf.Tensor:
    """Whether a crop with these counts per label value is accepted."""
    counts = tf.cast(counts[:IGNORE_LABEL], tf.float64)
    total = tf.reduce_sum(counts)
    several = tf.math.count_nonzero(counts) > 1
    return several & (tf.reduce_max(counts) / total < category_max_ratio)
