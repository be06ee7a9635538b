"""Keras layers of GCNet. All take and return `(batch, height, width, channels)`."""

from gcnet_tf.layers.conv import ConvNorm, SymmetricConv2D, exact_policy
from gcnet_tf.layers.dropout import ChannelDropout
from gcnet_tf.layers.global_context import ContextTransform, GlobalContextBlock
from gcnet_tf.layers.norm import BatchNorm
from gcnet_tf.layers.resize import resize_bilinear

__all__ = [
    "BatchNorm",
    "ChannelDropout",
    "ContextTransform",
    "ConvNorm",
    "GlobalContextBlock",
    "SymmetricConv2D",
    "exact_policy",
    "resize_bilinear",
]
