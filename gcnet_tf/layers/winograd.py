"""3x3 convolution by Winograd's minimal filtering, F(4x4, 3x3).

Lavin and Gray, arXiv 1509.09308. A tile of 4x4 outputs takes 36 multiplications for
each pair of channels where the definition takes 144. The rest is sums, by three
constant matrices, and one matrix product over the channels for each of the 36 values.
Written in plain operations: any engine that runs TensorFlow's graphs runs it.

float32 only: rounding grows by the size of the matrices' entries, a few times 1e-6 of
the largest output here, and too much for 16 bits.
"""

import numpy as np
import tensorflow as tf

_TILE = 4
_SIDE = _TILE + 2
# For the interpolation points 0, 1, -1, 2, -2 and infinity.
_FROM_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_FROM_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_TO_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


# Of channels times filters. Below, moving the 36 values costs more than it saves.
_LEAST_PRODUCTS = 2**15


def pays(channels: int, filters: int) -> bool:
    """Whether it is faster than the definition at 64x64 positions (on Zen 4)."""
    return channels * filters >= _LEAST_PRODUCTS


def winograd_conv2d(inputs: tf.Tensor, kernel: tf.Tensor, dilation: int = 1):
    """A 3x3 convolution of stride 1 with zeros around the input.

    Args:
        inputs: float32 `(batch, height, width, channels)`, any size.
        kernel: float32 `(3, 3, channels, filters)`.
        dilation: distance between kernel taps, in positions.

    Returns:
        float32 `(batch, height, width, filters)`.
    """
    channels, filters = kernel.shape[2:]
    shape = tf.shape(inputs)
    batch, height, width = shape[0], shape[1], shape[2]
    # A dilated convolution is one for each of dilation x dilation sub-grids. A block
    # holds a tile of every sub-grid.
    block = _TILE * dilation
    rows, columns = -(-height // block), -(-width // block)
    # Behind, whole blocks from the last of the tiles' six positions on.
    behind = (_SIDE - 2) * dilation
    inputs = tf.pad(
        inputs,
        [
            [0, 0],
            [dilation, rows * block - height + behind],
            [dilation, columns * block - width + behind],
            [0, 0],
        ],
    )
    values = []
    for i in range(_SIDE):
        line = inputs[:, dilation * i : dilation * i + rows * block]
        line = tf.reshape(line, [batch * rows, block, -1, channels])[:, :dilation]
        for j in range(_SIDE):
            value = line[:, :, dilation * j : dilation * j + columns * block]
            value = tf.reshape(value, [-1, block, channels])[:, :dilation]
            values.append(tf.reshape(value, [-1]))
    tiles = batch * rows * columns * dilation**2
    values = tf.reshape(
        _both_axes(_FROM_INPUT) @ tf.stack(values), [-1, tiles, channels]
    )
    weights = _both_axes(_FROM_KERNEL) @ tf.reshape(kernel, [9, -1])
    products = values @ tf.reshape(weights, [-1, channels, filters])
    outputs = _both_axes(_TO_OUTPUT) @ tf.reshape(products, [_SIDE**2, -1])
    outputs = tf.reshape(
        outputs,
        [_TILE, _TILE, batch * rows, dilation, columns, dilation * filters],
    )
    outputs = tf.transpose(outputs, [2, 0, 3, 4, 1, 5])
    outputs = tf.reshape(outputs, [batch, rows * block, columns * block, filters])
    return outputs[:, :height, :width]


def _both_axes(matrix: tuple) -> tf.Tensor:
    """The matrix that does to rows and columns at once what `matrix` does to one."""
    return tf.constant(np.kron(matrix, matrix), tf.float32)
