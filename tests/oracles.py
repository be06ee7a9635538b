"""Independent formulas in numpy float64, with which layers are compared."""

import numpy as np


def conv2d(x, kernel, bias=None, strides=1, dilation=1):
    """Convolves with symmetric zero padding; x (n, h, w, c), kernel (k, k, c, o)."""
    size = kernel.shape[0]
    pad = dilation * (size - 1) // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height = (x.shape[1] - 1) // strides + 1
    width = (x.shape[2] - 1) // strides + 1
    out = np.zeros((x.shape[0], height, width, kernel.shape[3]))
    for row in range(size):
        for column in range(size):
            top, left = row * dilation, column * dilation
            taps = padded[
                :,
                top : top + strides * (height - 1) + 1 : strides,
                left : left + strides * (width - 1) + 1 : strides,
            ]
            out += taps @ kernel[row, column].astype(np.float64)
    return out if bias is None else out + bias


def resize_bilinear(x, size, align_corners):
    """Resizes x (n, h, w, c) bilinearly to size (height, width).

    See docs/reference.md, section 1.6.
    """
    for axis, out_side in zip((1, 2), size):
        side = x.shape[axis]
        position = np.arange(out_side, dtype=np.float64)
        if align_corners:
            source = position * (side - 1) / (out_side - 1) if out_side > 1 else 0.0
            source = np.broadcast_to(source, position.shape)
        else:
            source = np.maximum((position + 0.5) * side / out_side - 0.5, 0)
        low = np.minimum(np.floor(source).astype(int), side - 1)
        high = np.minimum(low + 1, side - 1)
        shape = [1] * 4
        shape[axis] = -1
        weight = (source - low).reshape(shape)
        x = (1 - weight) * np.take(x, low, axis) + weight * np.take(x, high, axis)
    return x


def softmax(x):
    """Computes the softmax over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
