"""Keeps the old name of a module that configurations may import."""

from gcnet_tf.extensions.addons_layers import AddonsColours

__all__ = ["AddonsColours"]
