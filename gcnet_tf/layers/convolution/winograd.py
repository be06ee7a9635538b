"""3x3 convolution by Winograd's minimal filtering, F(4x4, 3x3).

Lavin and Gray, arXiv 1509.09308. A tile of 4x4 outputs takes 36 multiplications for
each pair of channels where the direct convolution takes 144. The rest is sums, by three
constant matrices, and one matrix product over the channels for each of the 36 values.
Written in plain operations: any engine that runs TensorFlow's graphs runs it.

Computed in float32 alone: rounding grows by the size of the matrices' entries, a few
times 1e-6 of the largest output here, and too much for 16 bits. Inputs may have 16.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

Matrix = tuple[tuple[float, ...], ...]


class Form(NamedTuple):
    """F(tile x tile, 3x3): the matrices, each for one axis."""

    tile: int
    from_input: Matrix
    from_kernel: Matrix
    to_output: Matrix

    @property
    def side(self) -> int:
        """The side of an input tile."""
        return self.tile + 2


# For the interpolation points 0, 1, -1, 2, -2 and infinity.
F4 = Form(
    4,
    (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    (
        (1, 1, 1, 1, 1, 0),
        (0, 1, -1, 2, -2, 0),
        (0, 1, 1, 4, 4, 0),
        (0, 1, -1, 8, -8, 1),
    ),
)
# For 0, 1, -1 and infinity: finer in rounding and at borders, 1.8 times the products.
# `scripts/benchmark.py convolutions` compares them.
F2 = Form(
    2,
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    ((1, 1, 1, 0), (0, 1, -1, -1)),
)


# Smallest channels * filters for which Winograd pays; below it, moving the 36 values
# costs more than the multiplications saved.
_LEAST_PRODUCTS = 2**14
# Channels whose kernel's gradient is computed at a time.
_PART = 512
# Fewest tiles for which it pays: the transformed kernels are read for them. And the
# smallest share, in tenths, of the tiles' outputs that lies inside of the images.
_LEAST_TILES, _LEAST_USED = 32, 6


def pays(channels: int, filters: int) -> bool:
    """Tells whether it beats the direct convolution of large features."""
    return channels * filters >= _LEAST_PRODUCTS


def fills_tiles(
    shape: Sequence[int | tf.Tensor | None], dilation: int
) -> bool | tf.Tensor:
    """Tells whether features are large enough for it.

    Args:
        shape: (batch, height, width) of the input; None for what counts as large
            enough. Height and width may be tensors.
        dilation: see `winograd_conv2d`.

    Returns:
        A tensor where height and width are tensors.
    """
    batch, height, width = shape
    if height is None or width is None:
        return True
    block = F4.tile * dilation
    tiles = -(-height // block) * -(-width // block) * dilation**2
    is_used = 10 * height * width >= _LEAST_USED * tiles * F4.tile**2
    return is_used if batch is None else is_used & (batch * tiles >= _LEAST_TILES)


def winograd_conv2d(
    inputs: tf.Tensor | Sequence[tf.Tensor],
    kernel: tf.Tensor,
    dilation: int = 1,
    form: Form = F4,
) -> tf.Tensor:
    """Computes a 3x3 convolution of stride 1 with zeros around the input.

    Args:
        inputs: `(batch, height, width, channels)`, any size, float32 or of 16 bits; or
            several, which count as joined on their channels. The values of an input
            that several convolutions share are not computed twice in a graph.
        kernel: `(3, 3, channels, filters)`.
        dilation: distance between kernel taps, in positions.
        form: `F4` or `F2`.

    Returns:
        `(batch, height, width, filters)`, of the type of `inputs`.
    """
    parts = inputs if isinstance(inputs, Sequence) else [inputs]
    return transformed_conv2d(parts, transformed_kernel(kernel, form), dilation, form)


def transformed_kernel(
    kernel: tf.Tensor, form: Form = F4, mirrored: bool = False
) -> tf.Tensor:
    """Transforms a kernel, to `form.side`² / 9 of its size.

    Args:
        kernel: `(3, 3, channels, filters)`, float32 or of 16 bits.
        form: `F4` or `F2`.
        mirrored: whether the kernel is turned by 180 degrees, and leads from filters
            to channels: that of the input's gradient.

    Returns:
        float32 `(side * side, channels, filters)`; filters first where mirrored.
    """
    matrix = form.from_kernel
    if mirrored:
        # In the matrix: TensorFlow reverses a tensor on one thread, value by value.
        matrix = tuple(row[::-1] for row in matrix)
        kernel = tf.transpose(kernel, [0, 1, 3, 2])
    flat = tf.reshape(kernel, [9, -1])  # (3 * 3, channels * filters)
    weights = _both_axes(matrix) @ tf.cast(
        flat, tf.float32
    )  # (side², channels * filters)
    # (side², channels, filters)
    return tf.reshape(weights, [form.side**2, *kernel.shape[2:]])


def transformed_conv2d(
    parts: Sequence[tf.Tensor], kernel: tf.Tensor, dilation: int = 1, form: Form = F4
) -> tf.Tensor:
    """Computes `winograd_conv2d` with a kernel from `transformed_kernel`."""
    channels = [part.shape[-1] for part in parts]
    grid = _Grid.of(parts[0], dilation, form)
    values = [tf.unstack(grid.input_values(part)) for part in parts]
    weights = tf.unstack(kernel)
    by_part = [weights]
    if len(parts) > 1:
        by_part = list(zip(*[tf.split(matrix, channels) for matrix in weights]))
    # Products of two matrices each, (tiles, channels) by (channels, filters), which
    # TensorFlow computes side by side. Its own kernel of batches, that of AVX2, shares
    # one product after the other among all threads: the layer takes 1.1 times as long.
    # With oneDNN it is the same.
    products = [[x @ y for x, y in zip(*pair)] for pair in zip(values, by_part)]
    sums = [tf.add_n(same_place) for same_place in zip(*products)]
    # (side², tiles * filters)
    total = tf.reshape(tf.stack(sums), [form.side**2, -1])
    outputs = _both_axes(form.to_output) @ total  # (tile², tiles * filters)
    # (batch, height, width, filters)
    return grid.join(tf.cast(outputs, parts[0].dtype), kernel.shape[-1])


def kernel_gradient(
    inputs: tf.Tensor, upstream: tf.Tensor, dilation: int = 1
) -> tf.Tensor:
    """Computes the gradient of the kernel of a convolution.

    Args:
        inputs: `(batch, height, width, channels)`, as of `winograd_conv2d`.
        upstream: gradient of the outputs, `(batch, height, width, filters)`.
        dilation: distance between kernel taps, in positions.

    Returns:
        `(3, 3, channels, filters)`.
    """
    grid = _Grid.of(inputs, dilation, F4)
    outer = tf.cast(grid.split(upstream), tf.float32)  # (tile², tiles * filters)
    # (side², tiles * filters)
    outer = _both_axes(F4.to_output, transposed=True) @ outer
    filters = upstream.shape[-1]
    outer = tf.reshape(outer, [F4.side**2, -1, filters])  # (side², tiles, filters)
    back = _both_axes(F4.from_kernel, transposed=True)
    gradients: list[tf.Tensor] = []
    # One after the other, so that the memory of a part is enough.
    for part in _parts(inputs):
        if gradients:
            part = after(gradients[-1], part)
        values = grid.input_values(part)  # (side², tiles, channels)
        # (side², channels, filters)
        weights = tf.matmul(values, outer, transpose_a=True)
        gradient = back @ tf.reshape(weights, [F4.side**2, -1])
        gradient = tf.reshape(gradient, [3, 3, part.shape[-1], filters])
        gradients.append(tf.cast(gradient, inputs.dtype))
    return tf.concat(gradients, axis=2)  # (3, 3, channels, filters)


def after(earlier: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """Returns a tensor that a graph does not read before it has computed `earlier`.

    What depends on weights or on values of the forward pass alone, such as their
    transforms, would else be computed as soon as it can be, and be kept for long.
    """
    with tf.control_dependencies([earlier]):
        return tf.identity(tensor)


def _parts(inputs: tf.Tensor) -> list[tf.Tensor]:
    channels = inputs.shape[-1]
    sizes = [min(_PART, channels - first) for first in range(0, channels, _PART)]
    return tf.split(inputs, sizes, axis=-1) if len(sizes) > 1 else [inputs]


class _Grid(NamedTuple):
    """The places of an image's tiles.

    A dilated convolution is one for each of dilation x dilation sub-grids. A block
    holds a tile of every sub-grid.
    """

    batch: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    rows: tf.Tensor
    """number of blocks down"""
    columns: tf.Tensor
    """number of blocks across"""
    dilation: int
    form: Form

    @classmethod
    def of(cls, images: tf.Tensor, dilation: int, form: Form) -> "_Grid":
        batch, height, width = tf.unstack(tf.shape(images)[:3])  # () each
        block = form.tile * dilation
        rows, columns = -(-height // block), -(-width // block)
        return cls(batch, height, width, rows, columns, dilation, form)

    @property
    def block(self) -> int:
        """The side of a block, in positions."""
        return self.form.tile * self.dilation

    def input_values(self, images: tf.Tensor) -> tf.Tensor:
        """Transforms each input tile: `(side * side, tiles, channels)`."""
        channels = images.shape[-1]
        images = self._pad(images, self.dilation)
        height, width = tf.unstack(tf.shape(images)[1:3])  # () each
        # (side, 1, 1, rows, dilation, 1, 1)
        rows = self._places(self.rows)[:, None, None, :, :, None, None]
        # (side, 1, 1, 1, columns, dilation)
        columns = self._places(self.columns)[:, None, None, None]
        # (batch, 1, 1, 1, 1)
        batch = tf.range(self.batch)[:, None, None, None, None]
        # (side, side, batch, rows, dilation, columns, dilation)
        places = (batch * height + rows) * width + columns
        # One pass over memory; slices, stacked, are two.
        # (side² * tiles, channels)
        values = tf.gather(tf.reshape(images, [-1, channels]), tf.reshape(places, [-1]))
        # (side², tiles * channels)
        values = tf.cast(tf.reshape(values, [self.form.side**2, -1]), tf.float32)
        values = _both_axes(self.form.from_input) @ values
        # (side², tiles, channels)
        return tf.reshape(values, [self.form.side**2, -1, channels])

    def _places(self, blocks: tf.Tensor) -> tf.Tensor:
        """Finds the tiles' positions along an axis: `(side, blocks, dilation)`."""
        # (blocks, dilation)
        first = self.block * tf.range(blocks)[:, None] + tf.range(self.dilation)
        # (side, blocks, dilation)
        return first + self.dilation * tf.range(self.form.side)[:, None, None]

    def join(self, tiles: tf.Tensor, channels: int) -> tf.Tensor:
        """Joins `(tile * tile, tiles * channels)` to images."""
        tile = self.form.tile
        sides = (self.batch * self.rows, self.dilation, self.columns)
        # (tile, tile, batch * rows, dilation, columns, dilation * channels)
        tiles = tf.reshape(tiles, [tile, tile, *sides, self.dilation * channels])
        # (batch * rows, tile, dilation, columns, tile, dilation * channels)
        tiles = tf.transpose(tiles, [2, 0, 3, 4, 1, 5])
        height, width = self.rows * self.block, self.columns * self.block
        # (batch, height, width, channels), of whole blocks
        images = tf.reshape(tiles, [self.batch, height, width, channels])
        return images[:, : self.height, : self.width]

    def split(self, images: tf.Tensor) -> tf.Tensor:
        """Splits images into `(tile * tile, tiles * channels)`; undoes `join`."""
        tile = self.form.tile
        sides = (self.batch * self.rows, tile, self.dilation, self.columns, tile)
        last = self.dilation * images.shape[-1]
        # (batch * rows, tile, dilation, columns, tile, dilation * channels)
        tiles = tf.reshape(self._pad(images, 0), [*sides, last])
        # (tile, tile, batch * rows, dilation, columns, dilation * channels)
        tiles = tf.transpose(tiles, [1, 4, 0, 2, 3, 5])
        return tf.reshape(tiles, [tile**2, -1])  # (tile², tiles * channels)

    def _pad(self, images: tf.Tensor, border: int) -> tf.Tensor:
        """Pads with zeros: to whole blocks, and by a border around them."""
        missing_rows = self.rows * self.block - self.height
        missing_columns = self.columns * self.block - self.width
        rows = [border, missing_rows + border]
        columns = [border, missing_columns + border]
        return tf.pad(images, [[0, 0], rows, columns, [0, 0]])


def _both_axes(matrix: Matrix, transposed: bool = False) -> tf.Tensor:
    """Builds the matrix that transforms rows and columns as `matrix` does one axis."""
    kronecker = np.kron(matrix, matrix)
    return tf.constant(kronecker.T if transposed else kronecker, tf.float32)
