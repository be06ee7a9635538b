"""A convolution, its normalisation and its activation: the unit of all networks."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers.convolution.conv import Shape, SymmetricConv2D
from gcnet_tf.layers.convolution.same_conv import DepthwiseConv2D, SameConv2D
from gcnet_tf.layers.norm import EPSILON, BatchNorm


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    """x * min(max(x + 3, 0), 6) / 6: swish of straight pieces (arXiv 1905.02244)."""
    # The place of the sixth keeps TFLite's converter from making a HARD_SWISH of this,
    # which in 8 bits XNNPACK leaves to others, and half of the time with it. 3 + x, not
    # x + 3: tf2onnx 1.17 fails at a scalar behind a convolution, without a word, and
    # leaves every transpose in.
    return x * (1 / 6) * tf.nn.relu6(3 + x)


ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "hard_swish": hard_swish}
CONVOLUTIONS: dict[str, type[SymmetricConv2D]] = {
    "symmetric": SymmetricConv2D,
    "same": SameConv2D,
    "depthwise": DepthwiseConv2D,
}


@keras.saving.register_keras_serializable("gcnet_tf")
class ConvNorm(keras.layers.Layer):
    """Convolution without bias, batch normalisation, and an activation if asked for.

    Input `(batch, height, width, channels)`, output
    `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    With `folded=True` the normalisation is gone and the convolution has a bias
    instead: the inference form, whose weights `inference_graph.fold` computes.

    Args:
        filters: number of output channels.
        kernel_size: odd side length of the kernel.
        strides: 1 or 2.
        dilation: distance between kernel taps, in positions.
        activation: a key of `ACTIVATIONS`, or None.
        gamma_initializer: initial scale of the normalisation.
        epsilon: of the normalisation.
        kind: a key of `CONVOLUTIONS`.
        winograd: see `SymmetricConv2D`.
        folded: whether this is the inference form.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        strides: int = 1,
        dilation: int = 1,
        activation: str | None = "relu",
        gamma_initializer: str = "ones",
        epsilon: float = EPSILON,
        kind: str = "symmetric",
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.activation = activation
        self.gamma_initializer = gamma_initializer
        self.epsilon = epsilon
        self.kind = kind
        self.folded = folded
        self.conv = CONVOLUTIONS[kind](
            filters,
            kernel_size,
            strides,
            dilation,
            use_bias=folded,
            winograd=winograd,
            folded=folded,
            name="conv",
            dtype=self.dtype_policy,
        )
        self.norm = None
        if not folded:
            self.norm = BatchNorm(
                gamma_initializer,
                epsilon,
                name="norm",
                dtype=self.dtype_policy,
            )

    def build(self, input_shape: Shape) -> None:
        self.conv.build(input_shape)
        if self.norm is not None:
            self.norm.build(self.conv.compute_output_shape(input_shape))
        self.built = True

    def call(
        self, inputs: tf.Tensor | Sequence[tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        outputs = self.conv(inputs)  # (batch, height / strides, width / strides, …)
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        return ACTIVATIONS[self.activation](outputs) if self.activation else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.conv.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.conv.filters,
            "kernel_size": self.conv.kernel_size,
            "strides": self.conv.strides,
            "dilation": self.conv.dilation,
            "activation": self.activation,
            "gamma_initializer": self.gamma_initializer,
            "epsilon": self.epsilon,
            "kind": self.kind,
            "winograd": self.conv.winograd,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class SeparableConvNorm(keras.layers.Layer):
    """A depthwise convolution and a 1x1 one, each with normalisation and ReLU.

    Input `(batch, height, width, channels)`, output `(batch, height, width, filters)`.
    In place of a `ConvNorm` of stride 1, with a ninth of its products at 3x3 and many
    filters.

    Args:
        filters: number of output channels.
        kernel_size: odd side length of the depthwise kernel.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, folded: bool = False, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.folded = folded

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None  # Keras cannot build a layer otherwise
        shared = {"folded": self.folded, "dtype": self.dtype_policy}
        self.depthwise = ConvNorm(
            channels,
            self.kernel_size,
            kind="depthwise",
            name="depthwise",
            **shared,
        )
        self.pointwise = ConvNorm(self.filters, name="pointwise", **shared)
        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = self.depthwise(inputs, training=training)
        return self.pointwise(outputs, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "folded": self.folded,
        }
