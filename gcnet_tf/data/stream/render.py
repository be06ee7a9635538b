"""Computing the pixels of a training sample from the part of the source it needs."""

from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.stream import packed, photometric, resample

_BUCKETS = [2**exponent for exponent in range(8, 17)]


class Window(NamedTuple):
    """Which source rows and columns each row and column of the result is made of."""

    row_taps: resample.Taps
    column_taps: resample.Taps
    label_rows: tf.Tensor
    """int32 (height,), -1 for padding."""
    label_columns: tf.Tensor
    """int32 (width,), -1 for padding."""


def make_window(
    rows: tf.Tensor, columns: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Window:
    """The window of the given positions in the image resized to `full_size`.

    Args:
        rows: int32 (height,), positions in the resized image, -1 for padding.
        columns: int32 (width,), likewise.
        full_size: int32 (2,), height and width of the resized image.
        source_size: int32 (2,).
    """
    return Window(
        resample.linear_row_taps(rows, full_size[0], source_size[0]),
        resample.linear_column_taps(columns, full_size[1], source_size[1]),
        resample.nearest_index(rows, full_size[0], source_size[0]),
        resample.nearest_index(columns, full_size[1], source_size[1]),
    )


def render(
    image: tf.Tensor,
    label: tf.Tensor,
    window: Window,
    distortion: photometric.Distortion | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes every pixel of the sample.

    Each part below is one XLA kernel, several times faster than op by op: nothing but
    its result is written to memory. Shapes are static for it. The random numbers are
    drawn outside, because XLA's may differ, and a step that a coin skips costs nothing,
    because it is not XLA that skips it.

    Args:
        image: uint8 RGB (source height, source width, 3).
        label: uint8 (source height, source width).
        window: what the result is made of.
        distortion: the change of colours, None for none.

    Returns:
        uint8 RGB (height, width, 3), zero where padded, and uint8 (height, width), 255
        where padded.
    """
    image, label, window = needed_region(image, label, window)
    return render_region(_compiled_pack(image), label, window, distortion)


def render_region(
    pixels: tf.Tensor,
    label: tf.Tensor,
    window: Window,
    distortion: photometric.Distortion | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`render` on what `needed_region` gives, with packed pixels."""
    pixels = _compiled_mix(pixels, window.row_taps, window.column_taps)
    if distortion is not None:
        pixels = photometric.distort_packed(pixels, distortion)
    return _compiled_finish(pixels, label, window)


def needed_region(
    image: tf.Tensor, label: tf.Tensor, window: Window
) -> tuple[tf.Tensor, tf.Tensor, Window]:
    """Cuts away what no output pixel needs, pads, and shifts the indices to match.

    XLA compiles once per shape; padding to a power of two leaves it a handful of them.
    """
    rows, row_padding, row_taps, label_rows = needed_lines(
        window.row_taps, window.label_rows
    )
    columns, column_padding, column_taps, label_columns = needed_lines(
        window.column_taps, window.label_columns
    )
    padding = (row_padding, column_padding)
    image = _pad(image[rows, columns], padding)
    label = _pad(label[rows, columns, tf.newaxis], padding)[..., 0]
    return image, label, Window(row_taps, column_taps, label_rows, label_columns)


def needed_lines(
    taps: resample.Taps, label_index: tf.Tensor
) -> tuple[slice, tf.Tensor, resample.Taps, tf.Tensor]:
    """One axis: what is needed as a slice, its padding, and the indices in it."""
    # Where there is padding the window holds all of this axis, so that the start is
    # 0 and the indices that stand for padding stay in range.
    nearest = tf.maximum(label_index, 0)
    start = tf.minimum(tf.reduce_min(taps.first), tf.reduce_min(nearest))
    stop = tf.maximum(tf.reduce_max(taps.second), tf.reduce_max(nearest)) + 1
    taps = taps._replace(first=taps.first - start, second=taps.second - start)
    label_index = tf.where(label_index < 0, resample.PADDING, label_index - start)
    return slice(start, stop), _bucket(stop - start) - (stop - start), taps, label_index


def _bucket(size: tf.Tensor) -> tf.Tensor:
    """The next power of two, at least 256."""
    buckets = tf.constant(_BUCKETS)
    return buckets[tf.searchsorted(buckets, [size])[0]]


def _pad(image, padding):
    """Adds (rows below, columns right) of zeros to (height, width, channels).

    `tf.pad` takes its time per pixel where the last axis is this short, so a row is one
    axis here.
    """
    height, width, channels = tf.unstack(tf.shape(image))
    image = tf.reshape(image, [height, width * channels])
    image = tf.pad(image, ((0, padding[0]), (0, padding[1] * channels)))
    return tf.reshape(image, [height + padding[0], width + padding[1], channels])


def finish(
    pixels: tf.Tensor, label: tf.Tensor, window: Window
) -> tuple[tf.Tensor, tf.Tensor]:
    """Unpacks the image, picks the label's pixels and fills the padding of both."""
    rows, columns = window.label_rows, window.label_columns
    valid = (rows >= 0)[:, tf.newaxis] & (columns >= 0)[tf.newaxis, :]
    # The reference changes colours before it pads: padding is zero again after it.
    image = packed.unpack(tf.where(valid, pixels, 0))
    label = tf.gather(label, tf.maximum(rows, 0))
    label = tf.gather(label, tf.maximum(columns, 0), axis=1)
    return image, tf.where(valid, label, tf.constant(IGNORE_LABEL, tf.uint8))


_compiled_pack, _compiled_mix, _compiled_finish = (
    tf.function(function, jit_compile=True, reduce_retracing=True, autograph=False)
    for function in (packed.pack, resample.mix, finish)
)
