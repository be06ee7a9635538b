"""Keras layers of GCNet. All take and return `(batch, height, width, channels)`."""

from gcnet_tf.layers.context import make_context
from gcnet_tf.layers.convolution.conv import SymmetricConv2D, exact_policy
from gcnet_tf.layers.convolution.conv_norm import ConvNorm, SeparableConvNorm
from gcnet_tf.layers.dropout import ChannelDropout
from gcnet_tf.layers.global_context import ContextTransform, GlobalContextBlock
from gcnet_tf.layers.non_local import NonLocalBlock
from gcnet_tf.layers.norm import BatchNorm
from gcnet_tf.layers.resize import resize_bilinear

__all__ = [
    "BatchNorm",
    "ChannelDropout",
    "ContextTransform",
    "ConvNorm",
    "GlobalContextBlock",
    "NonLocalBlock",
    "SeparableConvNorm",
    "SymmetricConv2D",
    "exact_policy",
    "make_context",
    "resize_bilinear",
]
