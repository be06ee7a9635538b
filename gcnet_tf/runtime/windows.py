"""Sizes, windows and strips: the parts of running a network on images of any size.

The functions need numpy alone. They take a function `predict`, from RGB images
`(batch, height, width, 3)` to logits `(batch, height, width, num_classes)`, whatever
computes it. `gcnet_tf.runtime.predict` puts the parts together.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
# Returns the rows of a slice, RGB images `(batch, rows, width, 3)`.
RowsOf = Callable[[slice], np.ndarray]

# Values in a strip of rows: small enough for a processor's cache.
_STRIP = 2**19


def keep_ratio_size(
    height: int,
    width: int,
    scale: tuple[int, int],
    fit: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Computes the (height, width) of a resized image with the same aspect ratio.

    The larger number of `scale` bounds the long side, the smaller one the short side,
    and the result is as large as these bounds allow, even where that enlarges the
    image. `fit` is a (height, width) that also bounds the result. Both sides are at
    least 1, however thin the image.
    """
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    if fit is not None:
        factor = min(factor, fit[0] / height, fit[1] / width)
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def windows(
    height: int, width: int, window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Yields the rows and columns of each window, in reading order.

    The last window of a row or column is moved back to end at the border, and in an
    image smaller than the window the window is smaller, too.
    """
    for rows in _spans(height, window[0], stride[0]):
        for columns in _spans(width, window[1], stride[1]):
            yield rows, columns


def slide(
    predict: Predict,
    images: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
    at_once: int = 1,
) -> np.ndarray:
    """Averages the logits of overlapping windows, with `at_once` windows in a batch."""
    height, width = images.shape[1:3]
    spans = list(windows(height, width, window, stride))
    total = None
    count = np.zeros((height, width, 1), np.float32)
    for first in range(0, len(spans), at_once):
        # All windows have the same size.
        group = spans[first : first + at_once]
        logits = predict(np.concatenate([images[:, *span] for span in group]))
        for span, part in zip(group, np.split(logits, len(group))):
            if total is None:
                shape = (len(part), height, width, part.shape[-1])
                total = np.zeros(shape, part.dtype)
            total[:, *span] += part
            count[span] += 1
    assert total is not None  # there is always one window
    total /= count
    return total


def tiled(
    predict: Predict,
    images: np.ndarray,
    window: tuple[int, int],
    stride: tuple[int, int],
) -> np.ndarray:
    """Runs overlapping windows, and takes each pixel from the window nearest to it.

    Neighbours meet in the middle of their overlap: near its border, a window lacks the
    surroundings of a pixel, so its value comes from the neighbour there. `predict` may
    also give labels `(batch, height, width)`.
    """
    height, width = images.shape[1:3]
    return tiled_rows(
        predict, lambda rows: images[:, rows], (height, width), window, stride
    )


def tiled_rows(
    predict: Predict,
    rows_of: RowsOf,
    size: tuple[int, int],
    window: tuple[int, int],
    stride: tuple[int, int],
) -> np.ndarray:
    """Does the same as `tiled` for images of a (height, width) that come by rows."""
    result = None
    for rows, kept_rows in _tiles(size[0], window[0], stride[0]):
        images = rows_of(rows)
        for columns, kept_columns in _tiles(size[1], window[1], stride[1]):
            values = predict(images[:, :, columns])
            if result is None:
                shape = (len(values), *size, *values.shape[3:])
                result = np.empty(shape, values.dtype)
            result[:, kept_rows, kept_columns] = values[
                :,
                kept_rows.start - rows.start : kept_rows.stop - rows.start,
                kept_columns.start - columns.start : kept_columns.stop - columns.start,
            ]
    assert result is not None  # there is always one window
    return result


def scales_of(scale: tuple[int, int], ratios: Iterable[float]) -> list[tuple[int, int]]:
    """Multiplies `scale` by each ratio, rounded down as in mmsegmentation 0.x."""
    return [(int(scale[0] * ratio), int(scale[1] * ratio)) for ratio in ratios]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def strips(logits: np.ndarray, size: tuple[int, int]) -> Iterator[slice]:
    """Cuts rows of logits at another size into strips of about `_STRIP` values."""
    values_per_row = len(logits) * size[1] * logits.shape[-1]
    step = max(_STRIP // values_per_row, 1)
    for start in range(0, size[0], step):
        yield slice(start, min(start + step, size[0]))


def argmax(
    like: np.ndarray, size: tuple[int, int], logits_of: Callable[[slice], np.ndarray]
) -> np.ndarray:
    """Takes the most likely class of each pixel, strip by strip.

    Args:
        like: logits of any size, for the number of images and classes.
        size: (height, width) of the result.
        logits_of: returns the logits `(batch, rows, width, num_classes)` of a slice of
            rows.

    Returns:
        uint8 `(batch, height, width)`.
    """
    labels = np.empty((len(like), *size), np.uint8)
    for rows in strips(like, size):
        labels[:, rows] = logits_of(rows).argmax(axis=-1)
    return labels


def _spans(length: int, side: int, step: int) -> list[slice]:
    count = max(length - side + step - 1, 0) // step + 1
    stops = [min(index * step + side, length) for index in range(count)]
    return [slice(max(stop - side, 0), stop) for stop in stops]


def _tiles(length: int, side: int, step: int) -> Iterator[tuple[slice, slice]]:
    """Yields each span with the part of it that is kept; no two parts overlap."""
    spans = _spans(length, side, step)
    borders = [(span.stop + next_.start) // 2 for span, next_ in zip(spans, spans[1:])]
    kept_parts = [slice(*pair) for pair in zip([0, *borders], [*borders, length])]
    return zip(spans, kept_parts)
