"""Pictures for people: overlays, sheets, attention maps, videos."""

from gcnet_tf.visualize.pictures import with_legend

__all__ = ["with_legend"]
