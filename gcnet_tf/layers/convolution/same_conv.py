"""Convolutions padded as in Keras' pretrained networks; of them the depthwise one."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers.convolution.conv import Shape, SymmetricConv2D


@keras.saving.register_keras_serializable("gcnet_tf")
class SameConv2D(SymmetricConv2D):
    """`SymmetricConv2D` with the padding that Keras calls "same".

    At stride 1 that is the same. At stride 2 an input of an even side has one zero less
    before it than behind: weights trained so expect it.
    """

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel, self.strides, padding="SAME")


@keras.saving.register_keras_serializable("gcnet_tf")
class DepthwiseConv2D(SameConv2D):
    """Convolves each channel with a kernel of its own.

    `filters` is the number of channels.

    The kernel is `(size, size, 1, channels)`: the filters come last, as in all others.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        strides: int = 1,
        dilation: int = 1,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ):
        if kernel_initializer is None:
            # One channel goes into each filter; the reference's fan-out, which counts
            # all filters, would be smaller by the root of their number.
            kernel_initializer = keras.initializers.VarianceScaling(
                scale=2.0, mode="fan_in", distribution="untruncated_normal"
            )
        super().__init__(
            filters,
            kernel_size,
            strides,
            dilation,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.filters:
            raise ValueError(
                "filters must be the number of channels. "
                f"Received: filters={self.filters}, channels={input_shape[-1]}"
            )
        super().build((*input_shape[:-1], 1))

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        # By space-to-batch where dilated. Not DepthwiseConv2dNative with dilations: on
        # a CPU its output is right and its gradients are those of no dilation, without
        # an error (oneDNN; without oneDNN it refuses).
        side = self.kernel_size
        kernel = tf.reshape(kernel, [side, side, self.filters, 1])  # (…, filters, 1)
        return tf.nn.depthwise_conv2d(
            inputs,
            kernel,
            strides=[1, self.strides, self.strides, 1],
            padding="SAME",
            dilations=[self.dilation, self.dilation],
        )

    @property
    def uses_winograd(self) -> bool:
        return False
