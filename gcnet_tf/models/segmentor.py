"""The whole network: an RGB image in, class scores for every pixel out."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers import resize_bilinear
from gcnet_tf.models.heads import FCNHead, GCHead
from gcnet_tf.models.resnet import ResNet

# ImageNet statistics of RGB in 0–255, as in the reference.
MEAN = (123.675, 116.28, 103.53)
STANDARD_DEVIATION = (58.395, 57.12, 57.375)


@keras.saving.register_keras_serializable("gcnet_tf")
class Segmentor(keras.Model):
    """Normalisation, backbone, decode head, and an auxiliary head in training.

    Call it with RGB images `(batch, height, width, 3)` in 0–255, any integer or
    floating type, any size. It returns a dict of float32 logits (float64 under a
    float64 policy) at the input's size:
    `{"logits": (batch, height, width, num_classes)}`, with `"aux_logits"` of the same
    shape when `training=True`.

    Args:
        num_classes: number of classes.
        backbone: arguments of `ResNet`.
        head: arguments of `GCHead` except `num_classes`.
        auxiliary: arguments of `FCNHead` except `num_classes`; None for a model that
            only infers.
        align_corners: how logits are enlarged, see `resize_bilinear`.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        num_classes: int,
        backbone: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        auxiliary: dict[str, Any] | None = None,
        align_corners: bool = False,
        folded: bool = False,
        **kwargs,
    ):
        # No autocast: images reach the normalisation as they are, whatever the policy.
        super().__init__(**{"autocast": False, **kwargs})
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.folded = folded
        self.parts = {
            "backbone": backbone or {},
            "head": head or {},
            "auxiliary": auxiliary,
        }
        shared: dict[str, Any] = {"folded": folded, "dtype": self.dtype_policy}
        self.backbone = ResNet(**(backbone or {}), **shared, name="backbone")
        self.decode_head = GCHead(
            num_classes, **(head or {}), **shared, name="decode_head"
        )
        self.auxiliary_head = None
        if auxiliary is not None:
            self.auxiliary_head = FCNHead(
                num_classes,
                **auxiliary,
                **shared,
                name="auxiliary_head",
            )

    def build(self, input_shape):
        self.backbone.build(input_shape)
        shapes = self.backbone.compute_output_shape(input_shape)
        self.decode_head.build(shapes["stage4"])
        if self.auxiliary_head is not None:
            self.auxiliary_head.build(shapes["stage3"])
        self.built = True

    def call(self, images, valid_size=None, dropout_seeds=None, training=False):
        """Returns the logits, see the class.

        Args:
            images: RGB `(batch, height, width, 3)` in 0–255.
            valid_size: int `(batch, 2)`, height and width of the part that is image;
                the rest is padding and becomes zero *after* the normalisation, as in
                the reference. None when nothing is padded.
            dropout_seeds: int `(batch, 2)`, see `ChannelDropout`.
            training: whether to use batch statistics, drop channels and return
                `"aux_logits"`.
        """
        size = tf.shape(images)[1:3]
        features = self.backbone(self._normalise(images, valid_size), training=training)
        logits = self.decode_head(
            features["stage4"], seeds=dropout_seeds, training=training
        )
        outputs = {"logits": resize_bilinear(logits, size, self.align_corners)}
        if training and self.auxiliary_head is not None:
            if dropout_seeds is not None:
                # Other masks than the decode head's.
                dropout_seeds = dropout_seeds + [[0, 1]]
            logits = self.auxiliary_head(
                features["stage3"], seeds=dropout_seeds, training=True
            )
            outputs["aux_logits"] = resize_bilinear(logits, size, self.align_corners)
        return outputs

    def _normalise(self, images, valid_size):
        dtype = tf.float64 if self.compute_dtype == "float64" else tf.float32
        images = tf.cast(images, dtype) - tf.constant(MEAN, dtype)
        # The division is folded into the first convolution. The mean cannot be: the
        # border's zeros are the mean colour.
        if not self.folded:
            images /= tf.constant(STANDARD_DEVIATION, dtype)
        if valid_size is not None:
            height, width = tf.shape(images)[1], tf.shape(images)[2]
            rows = tf.sequence_mask(valid_size[:, 0], height, dtype)
            columns = tf.sequence_mask(valid_size[:, 1], width, dtype)
            images *= (rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :])[..., None]
        return images if self.folded else tf.cast(images, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            **self.parts,
            "align_corners": self.align_corners,
            "folded": self.folded,
        }
