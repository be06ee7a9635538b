"""The global context block (GCNet, arXiv 1904.11492, figure 4d) and what it unites.

Context modelling (pooling), transform, fusion: the paper's framework. The simplified
non-local block and squeeze-and-excitation are settings of it, rows of
`gcnet_tf.layers.context.BLOCKS`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers.convolution.conv import Policy, Shape, SymmetricConv2D

POOLINGS = ("att", "avg")
TRANSFORMS = ("bottleneck_norm", "bottleneck", "linear")
FUSIONS = ("channel_add", "channel_mul")
GATES = ("sigmoid", "hard_sigmoid")


@keras.saving.register_keras_serializable("gcnet_tf")
class ContextTransform(keras.layers.Layer):
    """Bottleneck on the context vector: 1x1, LayerNorm if asked for, ReLU, 1x1.

    Input and output `(batch, 1, 1, channels)`. The second convolution starts at zero,
    so that adding the result changes nothing at the start of training.

    Args:
        hidden: channels inside the bottleneck.
        normalised: whether there is the LayerNorm.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        hidden: int,
        normalised: bool = True,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.normalised = normalised
        self.folded = folded

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None  # Keras cannot build a layer otherwise
        # PyTorch's default for a 1x1 convolution: weight and bias U(-1, 1)/sqrt(fan_in)
        bound = channels**-0.5
        self.reduce = SymmetricConv2D(
            self.hidden,
            use_bias=True,
            kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
            bias_initializer=keras.initializers.RandomUniform(-bound, bound),
            name="reduce",
            dtype=self.dtype_policy,
        )
        self.norm = None
        if self.normalised:
            self.norm = keras.layers.LayerNormalization(
                epsilon=1e-5, name="norm", dtype=self.dtype_policy
            )
        self.expand = _last_convolution(channels, "expand", self.dtype_policy)
        hidden_shape = (*input_shape[:-1], self.hidden)
        self.reduce.build(input_shape)
        if self.norm is not None:
            self.norm.build(hidden_shape)
        self.expand.build(hidden_shape)
        self.built = True

    def call(self, context: tf.Tensor) -> tf.Tensor:
        hidden = self.reduce(context)  # (batch, 1, 1, hidden)
        if self.norm is not None:
            normalise = self._normalised if self.folded else self.norm
            hidden = normalise(hidden)
        return self.expand(tf.nn.relu(hidden))  # (batch, 1, 1, channels)

    def _normalised(self, hidden: tf.Tensor) -> tf.Tensor:
        """Computes the LayerNorm by operations that have a form in 8 bits.

        Keras subtracts the mean by the negation of a tensor, which TFLite has in float
        alone.
        """
        assert self.norm is not None
        inputs = tf.cast(hidden, tf.float32) if hidden.dtype.size < 4 else hidden
        mean = tf.reduce_mean(inputs, axis=-1, keepdims=True)  # (batch, 1, 1, 1)
        squares = tf.math.squared_difference(inputs, mean)
        variance = tf.reduce_mean(squares, axis=-1, keepdims=True)  # (batch, 1, 1, 1)
        scaled = (inputs - mean) * tf.math.rsqrt(variance + self.norm.epsilon)
        gamma, beta = (
            tf.cast(weight, inputs.dtype)
            for weight in (self.norm.gamma, self.norm.beta)
        )
        return tf.cast(scaled * gamma + beta, hidden.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "normalised": self.normalised,
            "folded": self.folded,
        }


def _last_convolution(channels: int, name: str, policy: Policy) -> SymmetricConv2D:
    return SymmetricConv2D(
        channels, use_bias=True, kernel_initializer="zeros", name=name, dtype=policy
    )


@keras.saving.register_keras_serializable("gcnet_tf")
class GlobalContextBlock(keras.layers.Layer):
    """Gathers one context vector per image and gives it to every position.

    Input and output `(batch, height, width, channels)`. The context is pooled from the
    input over all positions, by learned attention or by the mean, transformed, and then
    multiplied (through a gate) and/or added to the input, multiplication first. No
    activation follows.

    Args:
        ratio: width of the bottleneck as a share of the channels, in (0, 1].
        pooling: "att" (softmax over positions of a 1x1 convolution) or "avg".
        fusions: one or both of "channel_add" and "channel_mul".
        transform: "bottleneck_norm" (1x1, LayerNorm, ReLU, 1x1), "bottleneck" (the same
            without the LayerNorm) or "linear" (one 1x1, whatever the ratio).
        gate: for "channel_mul": "sigmoid", or "hard_sigmoid", a gate of straight lines,
            `relu6(x + 3) / 6`.
        width_multiple: the bottleneck's width is rounded to a multiple of it
            (`rounded_to_multiple`); 1 to round down.
        folded: whether this is the inference form, whose pooling stays right when a
            phone computes it in 8 bits.

    Raises:
        ValueError: for an unknown pooling, transform, gate or fusion, or a bottleneck
            of no channels.
    """

    def __init__(
        self,
        ratio: float = 0.25,
        pooling: str = "att",
        fusions: Sequence[str] = ("channel_add",),
        transform: str = "bottleneck_norm",
        gate: str = "sigmoid",
        width_multiple: int = 1,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value, allowed in (
            ("pooling", pooling, POOLINGS),
            ("transform", transform, TRANSFORMS),
            ("gate", gate, GATES),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}. Received: {value}")
        if not fusions or not set(fusions) <= set(FUSIONS):
            raise ValueError(
                f"fusions must be one or both of {FUSIONS}. Received: {fusions}"
            )
        self.ratio = ratio
        self.pooling = pooling
        self.fusions = tuple(fusions)
        self.transform = transform
        self.gate = gate
        self.width_multiple = width_multiple
        self.folded = folded

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None  # Keras cannot build a layer otherwise
        self.mask = None
        if self.pooling == "att":
            # Fan-in He normal, unlike the other convolutions.
            self.mask = SymmetricConv2D(
                1,
                use_bias=True,
                kernel_initializer=keras.initializers.VarianceScaling(
                    scale=2.0, mode="fan_in", distribution="untruncated_normal"
                ),
                name="mask",
                dtype=self.dtype_policy,
            )
            self.mask.build(input_shape)
        for fusion in self.fusions:
            transform = self._make_transform(fusion, channels)
            transform.build((input_shape[0], 1, 1, channels))
            setattr(self, fusion, transform)
        self.built = True

    def _make_transform(self, name: str, channels: int) -> keras.layers.Layer:
        if self.transform == "linear":
            return _last_convolution(channels, name, self.dtype_policy)
        hidden = int(channels * self.ratio)
        if self.width_multiple > 1:
            hidden = rounded_to_multiple(hidden, self.width_multiple)
        if hidden < 1:
            raise ValueError(
                "ratio * channels must be at least 1. "
                f"Received: ratio={self.ratio}, channels={channels}"
            )
        normalised = self.transform == "bottleneck_norm"
        return ContextTransform(
            hidden, normalised, self.folded, name=name, dtype=self.dtype_policy
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Adds the context; `training` changes nothing, but all blocks take it."""
        context = self._pool(inputs)  # (batch, 1, 1, channels)
        outputs = inputs
        if "channel_mul" in self.fusions:
            outputs = outputs * self._gated(self.channel_mul(context))
        if "channel_add" in self.fusions:
            outputs = outputs + self.channel_add(context)
        return outputs  # (batch, height, width, channels)

    def _gated(self, context: tf.Tensor) -> tf.Tensor:
        """Turns any numbers into factors in [0, 1]."""
        if self.gate == "sigmoid":
            return tf.sigmoid(context)
        # 3 + x, not x + 3: see `hard_swish`.
        return tf.nn.relu6(3 + context) / 6

    def attention(self, inputs: tf.Tensor, queries: Any = None) -> tf.Tensor:
        """Computes the share of the context that each position has.

        Args:
            inputs: the block's input.
            queries: of no effect, since every position gets the same context; see
                `NonLocalBlock.attention`.

        Returns:
            `(batch, 1, height, width)`, with the sum 1 per image.

        Raises:
            ValueError: when the block pools by the mean.
        """
        if self.mask is None:
            raise ValueError("A block that pools by the mean has no attention.")
        shape = tf.shape(inputs)
        batch, height, width = shape[0], shape[1], shape[2]
        scores = self.mask(inputs)  # (batch, height, width, 1)
        scores = tf.reshape(scores, [batch, 1, height * width])  # (batch, 1, positions)
        # (batch, 1, height, width)
        return tf.reshape(softmax(scores), [batch, 1, height, width])

    def _pool(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes the context `(batch, 1, 1, channels)`."""
        if self.mask is None:
            # (batch, 1, 1, channels)
            return tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        if self.folded:
            return _weighted_mean(inputs, self.mask(inputs))
        shape = tf.shape(inputs)
        batch, positions = shape[0], shape[1] * shape[2]
        channels = inputs.shape[-1]
        scores = self.mask(inputs)  # (batch, height, width, 1)
        scores = tf.reshape(scores, [batch, 1, positions])  # (batch, 1, positions)
        attention = tf.cast(softmax(scores), inputs.dtype)  # (batch, 1, positions)
        # (batch, positions, channels)
        features = tf.reshape(inputs, [batch, positions, channels])
        context = attention @ features  # (batch, 1, channels)
        return tf.reshape(context, [batch, 1, 1, channels])  # (batch, 1, 1, channels)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "pooling": self.pooling,
            "fusions": list(self.fusions),
            "transform": self.transform,
            "gate": self.gate,
            "width_multiple": self.width_multiple,
            "folded": self.folded,
        }


def rounded_to_multiple(channels: float, multiple: int = 8) -> int:
    """Rounds to the nearest multiple, but to at least 90 % of `channels`.

    As in the MobileNets (arXiv 1801.04381). The least result is one multiple.
    """
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


def softmax(scores: tf.Tensor) -> tf.Tensor:
    """Computes the softmax over the last axis, at least in float32.

    Thousands of positions share a sum of 1: too fine for 16-bit arithmetic.
    """
    if scores.dtype.size < 4:
        scores = tf.cast(scores, tf.float32)
    return tf.nn.softmax(scores, axis=-1)


def _weighted_mean(inputs: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
    """Pools by attention with means and one division, on 4-D tensors throughout.

    The softmax of an int8 TFLite file has steps of 1/256, in which the share of each of
    4,096 positions is 0 and the context is gone. Here every tensor has values around 1.

    Args:
        inputs: `(batch, height, width, channels)`.
        scores: `(batch, height, width, 1)`.

    Returns:
        `(batch, 1, 1, channels)`.
    """
    weights = tf.exp(scores - tf.reduce_max(scores, axis=[1, 2], keepdims=True))
    weighted = inputs * weights  # (batch, height, width, channels)
    if scores.dtype.size < 4:
        weights, weighted = (tf.cast(x, tf.float32) for x in (weights, weighted))
    # (batch, 1, 1, channels)
    context = tf.reduce_mean(weighted, axis=[1, 2], keepdims=True)
    context /= tf.reduce_mean(weights, axis=[1, 2], keepdims=True)  # (batch, 1, 1, 1)
    return tf.cast(context, inputs.dtype)
