"""Bilinear resizing with numpy: of images as OpenCV does it, of logits as PyTorch does.

Sizes are (height, width). The arrays may have any axes before height and width.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 `(..., height, width, 3)` as `cv2.resize` with INTER_LINEAR.

    By OpenCV where it is installed, else by `resize_image_without_opencv`, which gives
    the same bytes.
    """
    if image.shape[-3:-1] == size:
        return image
    cv2 = _opencv()
    if cv2 is None:
        return resize_image_without_opencv(image, size)
    if image.ndim > 3:
        return np.stack([resize_image(each, size) for each in image])
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_image_without_opencv(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The arithmetic of OpenCV's 8-bit resizing, whose weights are in 1/2048.

    `gcnet_tf.data.stream.resample` has the same in TensorFlow, for crops.
    """
    # Beyond the border OpenCV repeats rows, and gives one column all the weight.
    rows, row_shares = _image_taps(image.shape[-3], size[0])
    columns, shares = _image_taps(image.shape[-2], size[1], sharp_border=True)
    mixed = np.zeros((*image.shape[:-3], *size, image.shape[-1]), np.int32)
    for row, row_share in zip(rows, row_shares):
        line = image.take(row, axis=-3)
        left, right = (line.take(column, axis=-2) for column in columns)
        line = left * shares[0][:, None] + right * shares[1][:, None]
        mixed += (line >> 4) * row_share[:, None, None] >> 16
    return ((mixed + 2) >> 2).astype(np.uint8)


def resize_logits(
    logits: np.ndarray,
    size: tuple[int, int],
    align_corners: bool,
    rows: slice = slice(None),
) -> np.ndarray:
    """Resizes logits to some rows of the result, `(..., height, width, channels)`.

    Args:
        logits: float32 or float64, which the result has, too.
        size: of the whole result.
        align_corners: as in `gcnet_tf.layers.resize_bilinear`.
        rows: which rows of the result; all by default.
    """
    if logits.shape[-3:-1] == size:
        return logits[..., rows, :, :]
    low, high, share = _logit_taps(logits.shape[-3], size[0], align_corners, logits)
    mixed = _mix(logits, -3, low[rows], high[rows], share[rows, None, None])
    low, high, share = _logit_taps(logits.shape[-2], size[1], align_corners, logits)
    return _mix(mixed, -2, low, high, share[:, None])


@lru_cache(maxsize=1)
def _opencv() -> Any:
    """The module `cv2`, or None; looked for at the first need, to start fast."""
    try:
        return import_module("cv2")
    except ImportError:
        return None


def _image_taps(old: int, new: int, sharp_border: bool = False):
    """The two old positions of each new one, and their weights; int64 (2, new), int32.

    In float32 after one step in float64, and rounded half to even, as OpenCV does.
    """
    step = 1.0 / (new / old)
    source = ((np.arange(new) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(source)
    fraction = source - first
    if sharp_border:
        fraction[(first < 0) | (first >= old - 1)] = 0
    weights = np.rint(np.stack([1 - fraction, fraction]) * np.float32(2048))
    positions = np.clip([first, first + 1], 0, old - 1).astype(np.int64)
    return positions, weights.astype(np.int32)


def _logit_taps(old: int, new: int, align_corners: bool, logits: np.ndarray):
    """The old positions on both sides of each new one, and the share of the second.

    Positions are computed in the precision of the logits, as in PyTorch.
    """
    number = logits.dtype.type
    place = np.arange(new, dtype=logits.dtype)
    if align_corners:
        source = place * (number(old - 1) / number(max(new - 1, 1)))
    else:
        source = np.maximum((place + number(0.5)) * (number(old) / number(new)), 0.5)
        source -= number(0.5)
    low = np.minimum(source.astype(np.int64), old - 1)
    return low, np.minimum(low + 1, old - 1), source - low.astype(logits.dtype)


def _mix(array, axis, low, high, share):
    first = array.take(low, axis=axis)
    second = array.take(high, axis=axis)
    # In place: these arrays are large.
    second -= first
    second *= share
    second += first
    return second
