"""The network: backbone, heads, and the segmentor that joins them."""

from gcnet_tf.models.build import build_model
from gcnet_tf.models.heads import AuxiliaryHead, ContextHead
from gcnet_tf.models.mobilenet import MobileNet
from gcnet_tf.models.resnet import ResNet
from gcnet_tf.models.segmentor import Segmentor

__all__ = [
    "AuxiliaryHead",
    "ContextHead",
    "MobileNet",
    "ResNet",
    "Segmentor",
    "build_model",
]
