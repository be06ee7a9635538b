"""From features to logits: the head with a context block, and the auxiliary head."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import weights_by_path
from gcnet_tf.extensions.classes import NamedObjectError, make_object
from gcnet_tf.layers import (
    ChannelDropout,
    ConvNorm,
    SeparableConvNorm,
    SymmetricConv2D,
    exact_policy,
    make_context,
)
from gcnet_tf.layers.convolution.conv import Policy, Shape


def _classifier(num_classes: int, policy: Policy) -> SymmetricConv2D:
    return SymmetricConv2D(
        num_classes,
        use_bias=True,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="classifier",
        dtype=policy,
    )


# The registered names are those of before, which saved models hold.
@keras.saving.register_keras_serializable("gcnet_tf", name="FCNHead")
class AuxiliaryHead(keras.layers.Layer):
    """3x3 convolution, channel dropout, classifier (the reference's FCNHead).

    Input `(batch, height, width, channels)`, output logits
    `(batch, height, width, num_classes)`.

    Args:
        num_classes: number of classes.
        channels: channels of the convolution.
        dropout: probability of dropping a channel before the classifier.
        winograd: see `SymmetricConv2D`.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 256,
        dropout: float = 0.1,
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.winograd = winograd
        self.folded = folded
        policy = self.dtype_policy
        self.conv = ConvNorm(
            channels, 3, winograd=winograd, folded=folded, name="conv", dtype=policy
        )
        self.dropout = ChannelDropout(dropout, name="dropout", dtype=policy)
        self.classifier = _classifier(num_classes, exact_policy(policy, folded))

    def build(self, input_shape: Shape) -> None:
        self.conv.build(input_shape)
        self.classifier.build(self.conv.compute_output_shape(input_shape))
        self.built = True

    def call(
        self,
        features: tf.Tensor,
        seeds: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Computes the logits; `seeds` are those of `ChannelDropout`."""
        outputs = self.conv(features, training=training)  # (batch, height, width, …)
        outputs = self.dropout(outputs, seeds=seeds, training=training)
        return self.classifier(outputs)  # (batch, height, width, num_classes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "dropout": self.dropout.rate,
            "winograd": self.winograd,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf", name="GCHead")
class ContextHead(keras.layers.Layer):
    """Decode head with a context block between two convolutions.

    Input `(batch, height, width, channels)`, output logits
    `(batch, height, width, num_classes)`: 3x3, context block, 3x3; the result joined
    behind the input features; 3x3; channel dropout; classifier. With the global context
    block it is the reference's GCHead, with the non-local block its NLHead, and without
    a block its FCNHead of two convolutions.

    Args:
        num_classes: number of classes.
        channels: channels of the convolutions.
        dropout: probability of dropping a channel before the classifier.
        context: arguments of `make_context`, such as {"block": "nl"}; None for the
            global context block as published.
        context_layer: class name and arguments of a Keras layer in place of the block,
            see `make_object`.
        separable: whether the 3x3 convolutions are depthwise ones and 1x1 ones.
        winograd: see `SymmetricConv2D`.
        folded: whether this is the inference form (see `ConvNorm`).

    Raises:
        NamedObjectError: when `context_layer` names no layer that can stand there.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 512,
        dropout: float = 0.1,
        context: dict[str, Any] | None = None,
        context_layer: dict[str, Any] | None = None,
        separable: bool = False,
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.context_settings = dict(context or {})
        self.context_layer = context_layer
        self.separable = separable
        self.winograd = winograd
        self.folded = folded
        policy = self.dtype_policy
        self.conv_before = self._make_conv("conv_before")
        self.context: keras.layers.Layer | None
        if context_layer is None:
            self.context = make_context(
                **self.context_settings, folded=folded, dtype=policy
            )
        else:
            self.context = self._make_context_layer()
        self.conv_after = self._make_conv("conv_after")
        self.conv_joined = self._make_conv("conv_joined")
        self.dropout = ChannelDropout(dropout, name="dropout", dtype=policy)
        self.classifier = _classifier(num_classes, exact_policy(policy, folded))

    def _make_conv(self, name: str) -> keras.layers.Layer:
        shared = {"folded": self.folded, "name": name, "dtype": self.dtype_policy}
        if self.separable:
            return SeparableConvNorm(self.channels, 3, **shared)
        return ConvNorm(self.channels, 3, winograd=self.winograd, **shared)

    def _make_context_layer(self) -> keras.layers.Layer:
        arguments = {"name": "context", "dtype": self.dtype_policy}
        assert self.context_layer is not None
        return make_object("layer", self.context_layer, "context_layer", arguments)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None  # Keras cannot build a layer otherwise
        inner_shape = (*input_shape[:-1], self.channels)
        self.conv_before.build(input_shape)
        if self.context_layer is not None:
            self._build_context_layer()
        elif self.context is not None:
            self.context.build(inner_shape)
        self.conv_after.build(inner_shape)
        self.conv_joined.build((*input_shape[:-1], channels + self.channels))
        self.classifier.build(inner_shape)
        self.built = True

    def _build_context_layer(self) -> None:
        """Builds the layer by calling it: not every layer builds all that is inside."""
        assert self.context is not None and self.context_layer is not None
        features = tf.zeros((1, 8, 8, self.channels), self.compute_dtype)
        twin, name = self._make_context_layer(), self.context_layer["class_name"]
        for layer in (self.context, twin):
            if layer(features).shape != features.shape:
                raise NamedObjectError(
                    f"context_layer: {name} does not keep the shape."
                )
        # The inference form is another model, with the weights of the same names.
        if weights_by_path(twin).keys() != weights_by_path(self.context).keys():
            raise NamedObjectError(
                f"context_layer: {name} gives its weights other names each time; name "
                "every layer inside it."
            )

    def call(
        self,
        features: tf.Tensor,
        seeds: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Computes the logits; `seeds` are those of `ChannelDropout`."""
        outputs = self.conv_before(features, training=training)
        if self.context is not None:
            outputs = self.context(outputs, training=training)
        outputs = self.conv_after(outputs, training=training)
        # Joined: (batch, height, width, channels of features + channels)
        outputs = self.conv_joined([features, outputs], training=training)
        outputs = self.dropout(outputs, seeds=seeds, training=training)
        return self.classifier(outputs)  # (batch, height, width, num_classes)

    def attention(self, features: tf.Tensor, queries: tf.Tensor) -> tf.Tensor:
        """Computes its context block's attention, see `NonLocalBlock.attention`.

        Raises:
            ValueError: when it has no context block, or one without attention.
        """
        if self.context is None:
            raise ValueError("A head without a context block has no attention.")
        return self.context.attention(self.conv_before(features), queries)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "dropout": self.dropout.rate,
            "context": self.context_settings,
            "context_layer": self.context_layer,
            "separable": self.separable,
            "winograd": self.winograd,
            "folded": self.folded,
        }
