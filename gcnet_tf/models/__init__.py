"""The network: backbone, heads, and the segmentor that joins them."""

from gcnet_tf.models.build import build_model
from gcnet_tf.models.heads import FCNHead, GCHead
from gcnet_tf.models.mobilenet import MobileNet
from gcnet_tf.models.resnet import ResNet
from gcnet_tf.models.segmentor import Segmentor

__all__ = ["FCNHead", "GCHead", "MobileNet", "ResNet", "Segmentor", "build_model"]
