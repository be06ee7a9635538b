"""The pixels of a training sample, computed from the region of the source they need."""

from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.stream import packed, photometric, resample

# Sizes that a region is padded to; the last one covers `MAX_SIDE`.
_BUCKETS = [2**exponent for exponent in range(8, 21)]


class Window(NamedTuple):
    """The source rows and columns of each row and column of the result."""

    row_taps: resample.Taps
    """Source rows of the image, with their weights; fields (height,)."""
    column_taps: resample.Taps
    """Source columns of the image, with their weights; fields (width,)."""
    label_rows: tf.Tensor
    """int32 (height,), source row of the label, -1 for padding."""
    label_columns: tf.Tensor
    """int32 (width,), source column of the label, -1 for padding."""


def make_window(
    rows: tf.Tensor, columns: tf.Tensor, full_size: tf.Tensor, source_size: tf.Tensor
) -> Window:
    """Returns the window of the given positions in the image resized to `full_size`.

    Args:
        rows: int32 (height,), rows of the resized image, -1 for padding.
        columns: int32 (width,), columns of the resized image, -1 for padding.
        full_size: int32 (2,), height and width of the resized image.
        source_size: int32 (2,), height and width of the source image.
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

    Each part below is one XLA kernel, which is several times faster than op by op,
    because only its result is written to memory. XLA needs static shapes for it. The
    random numbers are drawn outside, because those of XLA may differ. The decision to
    skip a step is outside, too, so that a skipped step costs nothing.

    Args:
        image: uint8 RGB (source height, source width, 3).
        label: uint8 (source height, source width).
        window: source rows and columns of the result.
        distortion: changes of the colours; None for no change.

    Returns:
        The image, uint8 RGB (height, width, 3), zero in the padding; and the label,
        uint8 (height, width), 255 in the padding.
    """
    image, label, window = needed_region(image, label, window)
    return render_region(_compiled_pack(image), label, window, distortion)


def render_region(
    pixels: tf.Tensor,
    label: tf.Tensor,
    window: Window,
    distortion: photometric.Distortion | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes `render` for the region that `needed_region` returns.

    Args:
        pixels: the region of the image as packed pixels.
        label: the region of the label.
        window: the window in the region.
        distortion: as in `render`.
    """
    pixels = _compiled_mix(pixels, window.row_taps, window.column_taps)
    if distortion is not None:
        pixels = photometric.distort_packed(pixels, distortion)
    return _compiled_finish(pixels, label, window)


def needed_region(
    image: tf.Tensor, label: tf.Tensor, window: Window
) -> tuple[tf.Tensor, tf.Tensor, Window]:
    """Cuts out and pads the region that the window needs, and shifts the window to it.

    XLA compiles once per shape. Padding to powers of two leaves only a few shapes.
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
    """Finds the lines (rows or columns) that the window needs along one axis.

    Args:
        taps: source lines of the image.
        label_index: source lines of the label, -1 for padding.

    Returns:
        The needed lines as a slice; the number of lines to add to them as padding; and
        both arguments with indices in the slice.
    """
    # A window with padding holds the whole axis. The start is 0 then, and the indices
    # of the padding stay in range.
    nearest = tf.maximum(label_index, 0)
    start = tf.minimum(tf.reduce_min(taps.first), tf.reduce_min(nearest))
    stop = tf.maximum(tf.reduce_max(taps.second), tf.reduce_max(nearest)) + 1
    taps = taps._replace(first=taps.first - start, second=taps.second - start)
    label_index = tf.where(label_index < 0, resample.PADDING, label_index - start)
    return slice(start, stop), _bucket(stop - start) - (stop - start), taps, label_index


def _bucket(size: tf.Tensor) -> tf.Tensor:
    """Returns the next power of two, at least 256."""
    buckets = tf.constant(_BUCKETS)
    return buckets[tf.searchsorted(buckets, [size])[0]]


def _pad(image, padding):
    """Pads (height, width, channels) with zeros: rows below and columns on the right.

    The last axis is so short that `tf.pad` would take long for each pixel. Therefore a
    whole row is one axis here.
    """
    height, width, channels = tf.unstack(tf.shape(image))
    image = tf.reshape(image, [height, width * channels])
    image = tf.pad(image, ((0, padding[0]), (0, padding[1] * channels)))
    return tf.reshape(image, [height + padding[0], width + padding[1], channels])


def finish(
    pixels: tf.Tensor, label: tf.Tensor, window: Window
) -> tuple[tf.Tensor, tf.Tensor]:
    """Unpacks the image, gathers the label's pixels and fills the padding of both."""
    rows, columns = window.label_rows, window.label_columns
    valid = (rows >= 0)[:, tf.newaxis] & (columns >= 0)[tf.newaxis, :]
    # The reference changes colours before it pads, so the padding must be zero.
    image = packed.unpack(tf.where(valid, pixels, 0))
    label = tf.gather(label, tf.maximum(rows, 0))
    label = tf.gather(label, tf.maximum(columns, 0), axis=1)
    return image, tf.where(valid, label, tf.constant(IGNORE_LABEL, tf.uint8))


_compiled_pack, _compiled_mix, _compiled_finish = (
    tf.function(function, jit_compile=True, reduce_retracing=True, autograph=False)
    for function in (packed.pack, resample.mix, finish)
)
