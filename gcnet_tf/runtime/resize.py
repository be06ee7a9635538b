"""Bilinear resizing with numpy: images as in OpenCV, logits as in PyTorch.

Sizes are (height, width). The arrays may have any axes before height and width.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 `(..., height, width, 3)` as `cv2.resize` with INTER_LINEAR.

    OpenCV does it where it is installed, else `resize_image_without_opencv`, which
    returns the same bytes.
    """
    if image.shape[-3:-1] == size:
        return image
    cv2 = _opencv()
    if cv2 is None:
        return resize_image_without_opencv(image, size)
    if image.ndim > 3:
        return np.stack([resize_image(part, size) for part in image])
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_image_without_opencv(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes as OpenCV does 8-bit images, with integer weights in units of 1/2048.

    `gcnet_tf.data.stream.resample` has the same arithmetic in TensorFlow, for crops.
    """
    # Beyond the border OpenCV repeats rows, but gives one column all the weight.
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
    """Resizes logits, and returns some rows, `(..., height, width, channels)`.

    Args:
        logits: float32 or float64 `(..., height, width, channels)`; the result has the
            same type.
        size: (height, width) of the whole result.
        align_corners: as in `gcnet_tf.layers.resize_bilinear`.
        rows: the rows of the result to return; all by default.
    """
    if logits.shape[-3:-1] == size:
        return logits[..., rows, :, :]
    low, high, share = _logit_taps(logits.shape[-3], size[0], align_corners, logits)
    mixed = _mix(logits, -3, low[rows], high[rows], share[rows, None, None])
    low, high, share = _logit_taps(logits.shape[-2], size[1], align_corners, logits)
    return _mix(mixed, -2, low, high, share[:, None])


@lru_cache(maxsize=1)
def _opencv() -> Any:
    """Returns the module `cv2` or None; imported on first use, to start fast."""
    try:
        return import_module("cv2")
    except ImportError:
        return None


def _image_taps(
    old_length: int, new_length: int, sharp_border: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the two source positions of each new position, and their weights.

    Like OpenCV, it makes the first step in float64 and the others in float32, and
    rounds half to even.

    Returns:
        Positions int64 `(2, new_length)`, and weights int32 of the same shape, in units
        of 1/2048.
    """
    step = 1.0 / (new_length / old_length)
    source = ((np.arange(new_length) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(source)
    fraction = source - first
    if sharp_border:
        fraction[(first < 0) | (first >= old_length - 1)] = 0
    weights = np.rint(np.stack([1 - fraction, fraction]) * np.float32(2048))
    positions = np.clip([first, first + 1], 0, old_length - 1).astype(np.int64)
    return positions, weights.astype(np.int32)


def _logit_taps(
    old_length: int, new_length: int, align_corners: bool, logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes the two source positions of each new position.

    Positions are computed in the precision of the logits, as in PyTorch.

    Returns:
        The positions before and after, int64 `(new_length,)`, and the weight of the
        second one in [0, 1], in the type of the logits.
    """
    scalar = logits.dtype.type
    target = np.arange(new_length, dtype=logits.dtype)
    if align_corners:
        source = target * (scalar(old_length - 1) / scalar(max(new_length - 1, 1)))
    else:
        source = np.maximum(
            (target + scalar(0.5)) * (scalar(old_length) / scalar(new_length)), 0.5
        )
        source -= scalar(0.5)
    low = np.minimum(source.astype(np.int64), old_length - 1)
    return low, np.minimum(low + 1, old_length - 1), source - low.astype(logits.dtype)


def _mix(
    array: np.ndarray, axis: int, low: np.ndarray, high: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Interpolates between the values at `low` and at `high`, along one axis."""
    first = array.take(low, axis=axis)
    second = array.take(high, axis=axis)
    # In place, because these arrays are large.
    second -= first
    second *= share
    second += first
    return second
