"""The global context block (GCNet, arXiv 1904.11492, figure 4d)."""

import keras
import tensorflow as tf

from gcnet_tf.layers.conv import SymmetricConv2D

POOLINGS = ("att", "avg")
FUSIONS = ("channel_add", "channel_mul")


@keras.saving.register_keras_serializable("gcnet_tf")
class ContextTransform(keras.layers.Layer):
    """Bottleneck on the context vector: 1x1, LayerNorm, ReLU, 1x1.

    The second convolution starts at zero, so that adding the result changes nothing at
    the start of training.

    Args:
        hidden: channels inside the bottleneck.
    """

    def __init__(self, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden

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
        self.norm = keras.layers.LayerNormalization(
            epsilon=1e-5, name="norm", dtype=self.dtype_policy
        )
        self.expand = SymmetricConv2D(
            channels,
            use_bias=True,
            kernel_initializer="zeros",
            name="expand",
            dtype=self.dtype_policy,
        )
        hidden_shape = (*input_shape[:-1], self.hidden)
        self.reduce.build(input_shape)
        self.norm.build(hidden_shape)
        self.expand.build(hidden_shape)
        self.built = True

    def call(self, context):
        return self.expand(tf.nn.relu(self.norm(self.reduce(context))))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden}


@keras.saving.register_keras_serializable("gcnet_tf")
class GlobalContextBlock(keras.layers.Layer):
    """Gathers one context vector per image and gives it to every position.

    Input and output `(batch, height, width, channels)`. The context is pooled from the
    input over all positions, by learned attention or by the mean, transformed in a
    bottleneck, and then multiplied (after a sigmoid) and/or added to the input,
    multiplication first. No activation follows.

    Args:
        ratio: width of the bottleneck as a share of the channels, in (0, 1].
        pooling: "att" or "avg".
        fusions: one or both of "channel_add" and "channel_mul".
        folded: whether this is the inference form, whose pooling stays right when a
            phone computes it in 8 bits.

    Raises:
        ValueError: for an unknown pooling or fusion, or a bottleneck of no channels.
    """

    def __init__(
        self,
        ratio: float = 0.25,
        pooling: str = "att",
        fusions: tuple[str, ...] = ("channel_add",),
        folded: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}. Received: {pooling}")
        if not fusions or not set(fusions) <= set(FUSIONS):
            raise ValueError(
                f"fusions must be one or both of {FUSIONS}. Received: {fusions}"
            )
        self.ratio = ratio
        self.pooling = pooling
        self.fusions = tuple(fusions)
        self.folded = folded

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = int(channels * self.ratio)
        if hidden < 1:
            raise ValueError(
                "ratio * channels must be at least 1. "
                f"Received: ratio={self.ratio}, channels={channels}"
            )
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
            transform = ContextTransform(hidden, name=fusion, dtype=self.dtype_policy)
            transform.build((input_shape[0], 1, 1, channels))
            setattr(self, fusion, transform)
        self.built = True

    def call(self, inputs):
        context = self._pool(inputs)
        outputs = inputs
        if "channel_mul" in self.fusions:
            outputs = outputs * tf.sigmoid(self.channel_mul(context))
        if "channel_add" in self.fusions:
            outputs = outputs + self.channel_add(context)
        return outputs

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
        # Thousands of positions share a sum of 1: too fine for 16-bit arithmetic.
        if scores.dtype.size < 4:
            scores = tf.cast(scores, tf.float32)
        attention = tf.cast(tf.nn.softmax(scores, axis=-1), inputs.dtype)
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
            "folded": self.folded,
        }


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
