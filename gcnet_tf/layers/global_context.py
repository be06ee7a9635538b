"""The global context block (GCNet, arXiv 1904.11492, figure 4d) and what it unites.

Context modelling (pooling), transform, fusion: the paper's framework, of which the
simplified non-local block and squeeze-and-excitation are settings.
"""

import keras
import tensorflow as tf

from gcnet_tf.layers.conv import SymmetricConv2D

POOLINGS = ("att", "avg")
TRANSFORMS = ("bottleneck_norm", "bottleneck", "linear")
FUSIONS = ("channel_add", "channel_mul")


@keras.saving.register_keras_serializable("gcnet_tf")
class ContextTransform(keras.layers.Layer):
    """Bottleneck on the context vector: 1x1, LayerNorm if asked for, ReLU, 1x1.

    The second convolution starts at zero, so that adding the result changes nothing at
    the start of training.

    Args:
        hidden: channels inside the bottleneck.
        normalised: whether there is the LayerNorm.
    """

    def __init__(self, hidden: int, normalised: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.normalised = normalised

    def build(self, input_shape):
        channels = input_shape[-1]
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

    def call(self, context):
        hidden = self.reduce(context)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return self.expand(tf.nn.relu(hidden))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "hidden": self.hidden,
            "normalised": self.normalised,
        }


def _last_convolution(channels, name, policy) -> SymmetricConv2D:
    return SymmetricConv2D(
        channels, use_bias=True, kernel_initializer="zeros", name=name, dtype=policy
    )


@keras.saving.register_keras_serializable("gcnet_tf")
class GlobalContextBlock(keras.layers.Layer):
    """Gathers one context vector per image and gives it to every position.

    Input and output `(batch, height, width, channels)`. The context is pooled from the
    input over all positions, by learned attention or by the mean, transformed, and then
    multiplied (after a sigmoid) and/or added to the input, multiplication first. No
    activation follows.

    Args:
        ratio: width of the bottleneck as a share of the channels, in (0, 1].
        pooling: "att" (softmax over positions of a 1x1 convolution) or "avg".
        fusions: one or both of "channel_add" and "channel_mul".
        transform: "bottleneck_norm" (1x1, LayerNorm, ReLU, 1x1), "bottleneck" (the same
            without the LayerNorm) or "linear" (one 1x1, whatever the ratio).
        folded: whether this is the inference form, whose pooling stays right when a
            phone computes it in 8 bits.

    Raises:
        ValueError: for an unknown pooling, transform or fusion, or a bottleneck of no
            channels.
    """

    def __init__(
        self,
        ratio: float = 0.25,
        pooling: str = "att",
        fusions: tuple[str, ...] = ("channel_add",),
        transform: str = "bottleneck_norm",
        folded: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}. Received: {pooling}")
        if transform not in TRANSFORMS:
            raise ValueError(
                f"transform must be one of {TRANSFORMS}. Received: {transform}"
            )
        if not fusions or not set(fusions) <= set(FUSIONS):
            raise ValueError(
                f"fusions must be one or both of {FUSIONS}. Received: {fusions}"
            )
        self.ratio = ratio
        self.pooling = pooling
        self.fusions = tuple(fusions)
        self.transform = transform
        self.folded = folded

    def build(self, input_shape):
        channels = input_shape[-1]
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
            transform = self._transform(fusion, channels)
            transform.build((input_shape[0], 1, 1, channels))
            setattr(self, fusion, transform)
        self.built = True

    def _transform(self, name, channels):
        if self.transform == "linear":
            return _last_convolution(channels, name, self.dtype_policy)
        hidden = self._hidden(channels)
        if hidden < 1:
            raise ValueError(
                "ratio * channels must be at least 1. "
                f"Received: ratio={self.ratio}, channels={channels}"
            )
        normalised = self.transform == "bottleneck_norm"
        return ContextTransform(hidden, normalised, name=name, dtype=self.dtype_policy)

    def _hidden(self, channels):
        """Channels inside the bottleneck."""
        return int(channels * self.ratio)

    def call(self, inputs, training=False):
        """`training` changes nothing; all context blocks take it."""
        context = self._pool(inputs)
        outputs = inputs
        if "channel_mul" in self.fusions:
            outputs = outputs * self._gate(self.channel_mul(context))
        if "channel_add" in self.fusions:
            outputs = outputs + self.channel_add(context)
        return outputs

    def _gate(self, context):
        """From any number to a factor in [0, 1]."""
        return tf.sigmoid(context)

    def attention(self, inputs, queries=None):
        """What share of the context each position has, `(batch, 1, height, width)`.

        Args:
            inputs: what the block is called with.
            queries: of no effect, since every position gets the same context; see
                `NonLocalBlock.attention`.

        Raises:
            ValueError: when the block pools by the mean.
        """
        if self.mask is None:
            raise ValueError("A block that pools by the mean has no attention.")
        shape = tf.shape(inputs)
        scores = tf.reshape(self.mask(inputs), [shape[0], 1, shape[1] * shape[2]])
        return tf.reshape(softmax(scores), [shape[0], 1, shape[1], shape[2]])

    def _pool(self, inputs):
        """Returns the context `(batch, 1, 1, channels)`."""
        if self.mask is None:
            return tf.reduce_mean(inputs, axis=[1, 2], keepdims=True)
        if self.folded:
            return _mean_by_weights(inputs, self.mask(inputs))
        shape = tf.shape(inputs)
        batch, positions = shape[0], shape[1] * shape[2]
        channels = inputs.shape[-1]
        scores = tf.reshape(self.mask(inputs), [batch, 1, positions])
        attention = tf.cast(softmax(scores), inputs.dtype)
        features = tf.reshape(inputs, [batch, positions, channels])
        return tf.reshape(attention @ features, [batch, 1, 1, channels])

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "pooling": self.pooling,
            "fusions": list(self.fusions),
            "transform": self.transform,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class SimplifiedNonLocalBlock(GlobalContextBlock):
    """Attention pooling and one 1x1 convolution, added (GCNet, figure 4b).

    Args:
        folded: see `GlobalContextBlock`.
    """

    def __init__(self, folded: bool = False, **kwargs):
        super().__init__(transform="linear", folded=folded, **kwargs)

    def get_config(self):
        return _without(super().get_config(), *AXES, "ratio")


@keras.saving.register_keras_serializable("gcnet_tf")
class SqueezeExcitation(GlobalContextBlock):
    """The mean over positions, through a bottleneck, gates the channels.

    Of SENet (arXiv 1709.01507), whose gate is a sigmoid; here it starts at one half.

    Args:
        ratio: width of the bottleneck as a share of the channels, in (0, 1].
        hard: the form of mmsegmentation and MobileNetV3: the bottleneck's width rounded
            to a multiple of 8, and a gate of straight lines, `relu6(x + 3) / 6`.
        folded: see `GlobalContextBlock`.
    """

    def __init__(
        self, ratio: float = 1 / 16, hard: bool = False, folded: bool = False, **kwargs
    ):
        super().__init__(
            ratio, "avg", ("channel_mul",), "bottleneck", folded=folded, **kwargs
        )
        self.hard = hard

    def _hidden(self, channels):
        hidden = super()._hidden(channels)
        return multiple_of_8(hidden) if self.hard else hidden

    def _gate(self, context):
        # 3 + x, not x + 3: see `hard_swish`.
        return tf.nn.relu6(3 + context) / 6 if self.hard else tf.sigmoid(context)

    def get_config(self):
        return {**_without(super().get_config(), *AXES), "hard": self.hard}


# What the two blocks above have decided.
AXES = ("pooling", "fusions", "transform")


def _without(config, *names):
    return {name: value for name, value in config.items() if name not in names}


def multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, but at least 8 and 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def softmax(scores):
    """Over the last axis, at least in float32.

    Thousands of positions share a sum of 1: too fine for 16-bit arithmetic.
    """
    if scores.dtype.size < 4:
        scores = tf.cast(scores, tf.float32)
    return tf.nn.softmax(scores, axis=-1)


def _mean_by_weights(inputs, scores):
    """Attention pooling by means and one division, on 4-D tensors throughout.

    The softmax of an int8 TFLite file has steps of 1/256, in which the share of each of
    4,096 positions is 0 and the context is gone. Here every tensor has values around 1.
    """
    weights = tf.exp(scores - tf.reduce_max(scores, axis=[1, 2], keepdims=True))
    weighted = inputs * weights
    if scores.dtype.size < 4:
        weights, weighted = (tf.cast(x, tf.float32) for x in (weights, weighted))
    context = tf.reduce_mean(weighted, axis=[1, 2], keepdims=True)
    context /= tf.reduce_mean(weights, axis=[1, 2], keepdims=True)
    return tf.cast(context, inputs.dtype)
