"""The old name of `extensions.addons_layers`, which configurations may import."""

from gcnet_tf.extensions.addons_layers import AddonsColours

__all__ = ["AddonsColours"]
