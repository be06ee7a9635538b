"""The whole network: an RGB image in, logits for every pixel out."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import model_config
from gcnet_tf.layers import resize_bilinear
from gcnet_tf.layers.convolution.conv import Shape
from gcnet_tf.models.backbone import Backbone
from gcnet_tf.models.heads import AuxiliaryHead, ContextHead
from gcnet_tf.models.mobilenet import MobileNet
from gcnet_tf.models.resnet import ResNet

_RESNET = "resnet_"


def _make_backbone(
    architecture: str = "resnet_v1c", winograd: bool = False, **arguments: Any
) -> Backbone:
    if architecture.startswith(_RESNET):
        variant = architecture.removeprefix(_RESNET)
        return ResNet(variant=variant, **arguments, winograd=winograd)
    # Its 3x3 convolutions are depthwise, or have a stride.
    return MobileNet(architecture, **arguments)


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
        backbone: "architecture", "resnet_v1c" by default, "resnet_vd" or one of
            `MobileNet`'s, and the arguments of that class.
        head: arguments of `ContextHead` except `num_classes`.
        auxiliary: arguments of `AuxiliaryHead` except `num_classes`; None for a model
            that only infers.
        align_corners: how logits are enlarged, see `resize_bilinear`.
        winograd: see `SymmetricConv2D`.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        num_classes: int,
        backbone: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        auxiliary: dict[str, Any] | None = None,
        align_corners: bool = False,
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        # No autocast: images reach the normalisation as they are, whatever the policy.
        super().__init__(**{"autocast": False, **kwargs})
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.winograd = winograd
        self.folded = folded
        self.parts = {
            "backbone": backbone or {},
            "head": head or {},
            "auxiliary": auxiliary,
        }
        shared: dict[str, Any] = {
            "winograd": winograd,
            "folded": folded,
            "dtype": self.dtype_policy,
        }
        self.backbone = _make_backbone(**(backbone or {}), **shared, name="backbone")
        self.decode_head = ContextHead(
            num_classes, **(head or {}), **shared, name="decode_head"
        )
        self.auxiliary_head = None
        if auxiliary is not None:
            self.auxiliary_head = AuxiliaryHead(
                num_classes,
                **auxiliary,
                **shared,
                name="auxiliary_head",
            )

    def build(self, input_shape: Shape) -> None:
        self.backbone.build(input_shape)
        shapes = self.backbone.compute_output_shape(input_shape)
        self.decode_head.build(shapes["stage4"])
        if self.auxiliary_head is not None:
            self.auxiliary_head.build(shapes["stage3"])
        self.built = True

    def call(
        self,
        images: tf.Tensor,
        valid_size: tf.Tensor | None = None,
        dropout_seeds: tf.Tensor | None = None,
        training: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Computes the logits, see the class.

        Args:
            images: RGB `(batch, height, width, 3)` in 0–255.
            valid_size: int `(batch, 2)`, height and width without the padding, which
                becomes zero *after* the normalisation, as in the reference. None when
                nothing is padded.
            dropout_seeds: int `(batch, 2)`, see `ChannelDropout`.
            training: whether to use batch statistics, drop channels and return
                `"aux_logits"`.
        """
        # As integers where they are known: a graph for one size then computes none.
        sides = images.shape[1:3]
        size = tf.shape(images)[1:3] if None in sides else tuple(sides)
        features = self.backbone(self._normalise(images, valid_size), training=training)
        # (batch, height / output_stride, width / output_stride, num_classes)
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

    def attention(self, images: tf.Tensor, points: Any) -> tf.Tensor:
        """Computes the attention of the decode head's context block.

        Args:
            images: as in `call`.
            points: numbers in [0, 1) `(n, 2)`: the queries, down and to the right, as
                shares of height and width.

        Returns:
            `(batch, n, height, width)` at the features' size; n is 1 where all
            positions get the same context.

        Raises:
            ValueError: see `ContextHead.attention`.
        """
        features = self.backbone(self._normalise(images, None))["stage4"]
        size = tf.cast(tf.shape(features)[1:3], tf.float32)
        queries = tf.cast(tf.convert_to_tensor(points, tf.float32) * size, tf.int32)
        return self.decode_head.attention(features, queries)

    def _normalise(self, images: tf.Tensor, valid_size: tf.Tensor | None) -> tf.Tensor:
        dtype = tf.float64 if self.compute_dtype == "float64" else tf.float32
        images = tf.cast(images, dtype) - tf.constant(self.backbone.mean, dtype)
        # The division is folded into the first convolution. The mean cannot be: the
        # border's zeros are the mean colour.
        if not self.folded:
            images /= tf.constant(self.backbone.standard_deviation, dtype)
        if valid_size is not None:
            height, width = tf.shape(images)[1], tf.shape(images)[2]
            rows = tf.sequence_mask(valid_size[:, 0], height, dtype)  # (batch, height)
            columns = tf.sequence_mask(valid_size[:, 1], width, dtype)  # (batch, width)
            # (batch, height, width)
            valid = rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :]
            images *= valid[..., tf.newaxis]  # (batch, height, width, 1)
        return images if self.folded else tf.cast(images, self.compute_dtype)

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": (None, None, None, 3)}

    def get_config(self) -> dict[str, Any]:
        return {
            **model_config(self, super().get_config()),
            "num_classes": self.num_classes,
            **self.parts,
            "align_corners": self.align_corners,
            "winograd": self.winograd,
            "folded": self.folded,
        }
