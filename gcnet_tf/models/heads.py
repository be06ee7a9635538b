"""From features to class scores: the GC head and the auxiliary FCN head."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import weights_by_path
from gcnet_tf.errors import UserError
from gcnet_tf.extensions.named import make
from gcnet_tf.layers import (
    ChannelDropout,
    ConvNorm,
    SeparableConvNorm,
    SymmetricConv2D,
    exact_policy,
    make_context,
)

_CONTEXT_LAYER = "model.head.context_layer"


def _classifier(num_classes: int, policy) -> SymmetricConv2D:
    return SymmetricConv2D(
        num_classes,
        use_bias=True,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="classifier",
        dtype=policy,
    )


@keras.saving.register_keras_serializable("gcnet_tf")
class FCNHead(keras.layers.Layer):
    """3x3 convolution, channel dropout, classifier.

    `(batch, height, width, channels)` to logits `(batch, height, width, num_classes)`.

    Args:
        num_classes: number of classes.
        channels: channels of the convolution.
        dropout: probability of dropping a channel before the classifier.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 256,
        dropout: float = 0.1,
        folded: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.folded = folded
        self.conv = ConvNorm(
            channels, 3, folded=folded, name="conv", dtype=self.dtype_policy
        )
        self.dropout = ChannelDropout(dropout, name="dropout", dtype=self.dtype_policy)
        self.classifier = _classifier(
            num_classes, exact_policy(self.dtype_policy, folded)
        )

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.classifier.build(self.conv.compute_output_shape(input_shape))
        self.built = True

    def call(self, features, seeds=None, training=False):
        outputs = self.conv(features, training=training)
        outputs = self.dropout(outputs, seeds=seeds, training=training)
        return self.classifier(outputs)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "dropout": self.dropout.rate,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class GCHead(keras.layers.Layer):
    """Decode head with a context block between two convolutions.

    `(batch, height, width, channels)` to logits `(batch, height, width, num_classes)`:
    3x3, context block, 3x3; the result joined behind the input features; 3x3; channel
    dropout; classifier.

    Args:
        num_classes: number of classes.
        channels: channels of the convolutions.
        dropout: probability of dropping a channel before the classifier.
        context: arguments of `make_context`, such as {"block": "nl"}; None for the
            global context block as published.
        separable: whether the 3x3 convolutions are depthwise ones and 1x1 ones.
        folded: whether this is the inference form (see `ConvNorm`).
        context_layer: class name and arguments of a layer in place of the block, see
            `gcnet_tf.extensions.named.make`.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 512,
        dropout: float = 0.1,
        context: dict[str, Any] | None = None,
        separable: bool = False,
        folded: bool = False,
        context_layer: dict[str, Any] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.separable = separable
        self.folded = folded
        self.context_layer = context_layer
        policy = self.dtype_policy
        convolution = SeparableConvNorm if separable else ConvNorm
        self.conv_before = convolution(
            channels, 3, folded=folded, name="conv_before", dtype=policy
        )
        self.context_settings = dict(context or {})
        self.context: keras.layers.Layer | None
        if context_layer is None:
            self.context = make_context(
                **self.context_settings, folded=folded, dtype=policy
            )
        else:
            self.context = self._make_context()
        self.conv_after = convolution(
            channels, 3, folded=folded, name="conv_after", dtype=policy
        )
        self.conv_joined = convolution(
            channels, 3, folded=folded, name="conv_joined", dtype=policy
        )
        self.dropout = ChannelDropout(dropout, name="dropout", dtype=policy)
        self.classifier = _classifier(num_classes, exact_policy(policy, folded))

    def _make_context(self) -> keras.layers.Layer:
        arguments = {"name": "context", "dtype": self.dtype_policy}
        assert self.context_layer is not None
        return make("layer", self.context_layer, _CONTEXT_LAYER, arguments)

    def _build_context(self, shape):
        if self.context is None:
            return
        if self.context_layer is None:
            self.context.build(shape)
            return
        # By calling it: not every layer builds all that is inside before.
        features = tf.zeros((1, 8, 8, self.channels), self.compute_dtype)
        twin, name = self._make_context(), self.context_layer["class_name"]
        for layer in (self.context, twin):
            if layer(features).shape != features.shape:
                raise UserError(f"{_CONTEXT_LAYER}: {name} does not keep the shape.")
        # The inference form is another model, with the weights of the same names.
        if weights_by_path(twin).keys() != weights_by_path(self.context).keys():
            raise UserError(
                f"{_CONTEXT_LAYER}: {name} gives its weights other names each time; "
                "name every layer inside it."
            )

    def build(self, input_shape):
        inner_shape = (*input_shape[:-1], self.channels)
        self.conv_before.build(input_shape)
        self._build_context(inner_shape)
        self.conv_after.build(inner_shape)
        self.conv_joined.build((*input_shape[:-1], input_shape[-1] + self.channels))
        self.classifier.build(inner_shape)
        self.built = True

    def call(self, features, seeds=None, training=False):
        outputs = self.conv_before(features, training=training)
        if self.context is not None:
            outputs = self.context(outputs, training=training)
        outputs = self.conv_after(outputs, training=training)
        outputs = self.conv_joined([features, outputs], training=training)
        outputs = self.dropout(outputs, seeds=seeds, training=training)
        return self.classifier(outputs)

    def attention(self, features, queries):
        """Its context block's, see `NonLocalBlock.attention`.

        Raises:
            ValueError: when it has no context block, or one without attention.
        """
        if self.context is None:
            raise ValueError("A head without a context block has no attention.")
        return self.context.attention(self.conv_before(features), queries)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "dropout": self.dropout.rate,
            "context": self.context_settings,
            "separable": self.separable,
            "folded": self.folded,
            "context_layer": self.context_layer,
        }
