"""A convolution of stride 1 whose outputs and gradients are each computed the fast way.

On a processor. A GPU's libraries choose for themselves.
"""

from collections.abc import Callable

import tensorflow as tf

from gcnet_tf.compat import bfloat16_rate, has_dilated_gradient
from gcnet_tf.layers.convolution.winograd import (
    after,
    fills_tiles,
    kernel_gradient,
    pays,
    transformed_conv2d,
    transformed_kernel,
    winograd_conv2d,
)

# Smallest channels * filters for which the kernel's gradient by Winograd's method, in
# float32, beats the direct one in bfloat16 where that has twice the rate of float32:
# oneDNN takes 1.5 times as long for it as for outputs.
_LEAST_IN_BFLOAT16 = 2**16


def direct_conv2d(inputs: tf.Tensor, kernel: tf.Tensor, dilation: int = 1) -> tf.Tensor:
    """Computes a direct convolution of stride 1, with a gradient on every device.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(side, side, channels, filters)`; the side is odd.
        dilation: distance between kernel taps, in positions.

    Returns:
        `(batch, height, width, filters)`.
    """
    if dilation > 1 and not has_dilated_gradient(inputs.dtype):
        # Space-to-batch; slower.
        return tf.nn.convolution(inputs, kernel, padding="SAME", dilations=dilation)
    # At stride 1 "SAME" is symmetric for odd kernels, and unlike explicit padding it
    # has a CPU gradient when dilated.
    return tf.nn.conv2d(inputs, kernel, 1, padding="SAME", dilations=dilation)


def trainable_conv2d(
    inputs: tf.Tensor, kernel: tf.Tensor, dilation: int = 1
) -> tf.Tensor:
    """Computes a convolution, and its gradients, as is fastest on a processor.

    Args:
        inputs: `(batch, height, width, channels)`, of any type.
        kernel: `(side, side, channels, filters)` of that type; the side is odd.
        dilation: distance between kernel taps, in positions.

    Returns:
        `(batch, height, width, filters)` of that type.
    """
    side, _, channels, filters = kernel.shape
    if side == 1:
        return _pointwise_conv2d(inputs, kernel)
    if side > 3:
        return direct_conv2d(inputs, kernel, dilation)
    outputs, kernel_gradients = _pays(inputs.dtype, channels, filters)
    if kernel_gradients and fills_tiles(inputs.shape[:3], dilation):
        return trainable_winograd_conv2d(inputs, kernel, dilation, outputs)
    return direct_conv2d(inputs, kernel, dilation)


@tf.custom_gradient
def _pointwise_conv2d(
    inputs: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Computes a 1x1 convolution with the kernel's gradient as a product of matrices.

    It takes 0.95 of the time of TensorFlow's operation, and in bfloat16 0.85.
    """

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])  # (positions, channels)
        outer = tf.reshape(upstream, [-1, upstream.shape[-1]])  # (positions, filters)
        of_kernel = tf.matmul(rows, outer, transpose_a=True)  # (channels, filters)
        return (
            _direct_gradient(inputs, kernel, upstream),
            tf.reshape(of_kernel, kernel.shape),
        )

    return direct_conv2d(inputs, kernel), gradients


def _pays(dtype: tf.DType, channels: int, filters: int) -> tuple[bool, bool]:
    """Tells of what Winograd's method pays: of outputs, of kernels' gradients.

    What is said of outputs holds for the gradient of inputs, too.
    """
    everywhere = pays(channels, filters)
    if dtype == tf.float32:
        return everywhere, everywhere
    if dtype != tf.bfloat16:
        return False, False
    rate = bfloat16_rate()
    if rate <= 1:
        return everywhere, everywhere
    # At twice the rate, outputs take at best 0.8 of the direct ones' time, by which a
    # step of an R50 gains 5 %, and takes 1.15 times the memory.
    return False, rate <= 2 and channels * filters >= _LEAST_IN_BFLOAT16


def trainable_winograd_conv2d(
    inputs: tf.Tensor, kernel: tf.Tensor, dilation: int = 1, outputs: bool = True
) -> tf.Tensor:
    """Computes a 3x3 convolution with the kernel's gradient by Winograd's method.

    The automatic gradients of `winograd_conv2d` add up 36 padded copies of the input,
    and take so long that nothing is gained.

    Args:
        inputs: `(batch, height, width, channels)`, float32 or bfloat16.
        kernel: `(3, 3, channels, filters)` of the same type.
        dilation: distance between kernel taps, in positions.
        outputs: whether outputs, and the gradient of inputs, are also computed by
            Winograd's method.

    Returns:
        `(batch, height, width, filters)` of the same type.
    """

    # `dilation` from outside: an argument would become a tensor.
    @tf.custom_gradient
    def convolve(
        inputs: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_kernel = kernel_gradient(after(upstream, inputs), upstream, dilation)
            # One after the other, so that the memory of one is enough.
            upstream = after(of_kernel, upstream)
            weights = after(of_kernel, kernel)
            if not outputs:
                return _direct_gradient(inputs, weights, upstream, dilation), of_kernel
            mirrored = transformed_kernel(weights, mirrored=True)
            return transformed_conv2d([upstream], mirrored, dilation), of_kernel

        compute = winograd_conv2d if outputs else direct_conv2d
        return compute(inputs, after(inputs, kernel), dilation), gradients

    return convolve(inputs, kernel)


def _direct_gradient(
    inputs: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, dilation: int = 1
) -> tf.Tensor:
    """Computes the gradient of `inputs`, whose size alone is read."""
    return tf.nn.conv2d_transpose(
        upstream, kernel, tf.shape(inputs), 1, dilations=dilation
    )
