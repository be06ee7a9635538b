"""ResNet-V1c and ResNet-vd with dilated last stages.

Specifications: mmsegmentation's ResNetV1c-D8, and PaddleSeg's ResNet_vd.
"""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers import ConvNorm, exact_policy, make_context
from gcnet_tf.layers.convolution.conv import Shape
from gcnet_tf.models.backbone import STAGES, Backbone

# depth: (blocks per stage, whether blocks are bottlenecks)
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}
EXPANSION = 4
V1C, VD = VARIANTS = ("v1c", "vd")


@keras.saving.register_keras_serializable("gcnet_tf")
class ResidualUnit(keras.layers.Layer):
    """Two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 (bottleneck), plus a shortcut.

    Input `(batch, height, width, channels)`, output
    `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    The stride and the dilation sit on the first 3x3 convolution; the second one of a
    basic unit is dilated in the variant vd alone. The shortcut is a 1x1 convolution
    where the stride or the number of channels changes, else the identity; the variant
    vd takes the means of 2x2 positions before it instead of a stride. The last scale
    starts at zero, so that a new unit is the identity.

    Args:
        channels: channels of the 3x3 convolution.
        bottleneck: which of the two kinds; a bottleneck puts out `4 * channels`.
        strides: 1 or 2.
        dilation: dilation of the first 3x3 convolution.
        variant: one of `VARIANTS`.
        context: arguments of `make_context`, for a block on the main path, before the
            shortcut is added; None for no block.
        winograd: see `SymmetricConv2D`.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        channels: int,
        bottleneck: bool,
        strides: int = 1,
        dilation: int = 1,
        variant: str = V1C,
        context: dict[str, Any] | None = None,
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = channels
        self.bottleneck = bottleneck
        self.strides = strides
        self.dilation = dilation
        self.variant = variant
        self.winograd = winograd
        self.folded = folded
        self.filters = channels * (EXPANSION if bottleneck else 1)
        wide: dict[str, Any] = {
            "filters": channels,
            "kernel_size": 3,
            "strides": strides,
            "dilation": dilation,
        }
        last = {"activation": None, "gamma_initializer": "zeros"}
        if bottleneck:
            arguments = [{"filters": channels}, wide, {"filters": self.filters, **last}]
        else:
            second = {"dilation": dilation if variant == VD else 1, **last}
            arguments = [wide, {"filters": channels, "kernel_size": 3, **second}]
        # Attributes instead of a list: weights files name them, and older versions of
        # Keras lose layers in lists of lists.
        for number, settings in enumerate(arguments, start=1):
            setattr(self, f"conv{number}", self._make_conv(f"conv{number}", **settings))
        self.shortcut: ConvNorm | None = None
        self.shortcut_vd: ConvNorm | None = None
        self.context_settings = context
        self.context = None
        if context is not None:
            self.context = make_context(
                **context, folded=folded, dtype=self.dtype_policy
            )

    @property
    def convs(self) -> list[ConvNorm]:
        """The convolutions of the main path, in order."""
        return [getattr(self, f"conv{n}") for n in range(1, 3 + self.bottleneck)]

    def _make_conv(self, name: str, **arguments: Any) -> ConvNorm:
        return ConvNorm(
            **arguments,
            winograd=self.winograd,
            folded=self.folded,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Shape) -> None:
        if self.strides > 1 or input_shape[-1] != self.filters:
            vd = self.variant == VD
            # Weights of one variant fit the other, which would give wrong answers with
            # them: another name keeps them apart.
            name = "shortcut_vd" if vd else "shortcut"
            strides = 1 if vd else self.strides
            shortcut = self._make_conv(
                name, filters=self.filters, strides=strides, activation=None
            )
            shortcut.build(input_shape)
            setattr(self, name, shortcut)
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)
        if self.context is not None:
            self.context.build(input_shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = inputs
        for conv in self.convs:
            outputs = conv(outputs, training=training)
        if self.context is not None:
            outputs = self.context(outputs, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        if self.shortcut_vd is not None:
            if self.strides > 1:
                # "SAME" leaves the padding at odd sides out of the means.
                inputs = tf.nn.avg_pool2d(inputs, 2, self.strides, "SAME")
            inputs = self.shortcut_vd(inputs, training=training)
        return tf.nn.relu(inputs + outputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for conv in self.convs:
            input_shape = conv.compute_output_shape(input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "bottleneck": self.bottleneck,
            "strides": self.strides,
            "dilation": self.dilation,
            "variant": self.variant,
            "context": self.context_settings,
            "winograd": self.winograd,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class ResNet(Backbone):
    """Dilated ResNet: three 3x3 convolutions as the stem, then four stages.

    Images and features are those of `Backbone`. The variants differ in their units, in
    the normalisation of images, and in dilation:

    * v1c, that of mmsegmentation: the first block of a dilated stage takes half the
      stage's dilation ("contracted" dilation), which makes the features at output
      stride 8, subsampled, equal to those at output stride 16 (bottleneck depths).
    * vd, that of PaddleSeg: all blocks of a stage have its dilation.

    Args:
        depth: 18, 34, 50 or 101.
        base_channels: channels of the stem and of stage 1's blocks.
        output_stride, frozen_stages, folded: see `Backbone`.
        variant: one of `VARIANTS`.
        context: arguments of `make_context`, for a block in every unit of the
            "stages" that it also names; bottleneck depths. None for no block.
        winograd: see `SymmetricConv2D`.

    Raises:
        ValueError: for an unknown depth, variant or output stride, or context blocks in
            units without a bottleneck.
    """

    # ImageNet's, as in the reference.
    mean = (123.675, 116.28, 103.53)
    standard_deviation = (58.395, 57.12, 57.375)

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        output_stride: int = 8,
        frozen_stages: int = -1,
        variant: str = V1C,
        context: dict[str, Any] | None = None,
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {list(DEPTHS)}. Received: {depth}")
        if variant not in VARIANTS:
            raise ValueError(
                f"variant must be one of {list(VARIANTS)}. Received: {variant}"
            )
        num_blocks, bottleneck = DEPTHS[depth]
        super().__init__(3, num_blocks, output_stride, frozen_stages, folded, **kwargs)
        self.depth = depth
        self.base_channels = base_channels
        self.variant = variant
        if variant == VD:
            self.mean = self.standard_deviation = (127.5, 127.5, 127.5)
        self.context_settings = context
        self.winograd = winograd
        half = base_channels // 2
        shared: dict[str, Any] = {"winograd": winograd, "folded": folded}
        stem = [(half, 2), (half, 1), (base_channels, 1)]
        # Pixels and their differences are too fine for 16 bits: this one convolution
        # in float32 takes no time, and saves two thirds of the labels that bfloat16
        # changes.
        first = exact_policy(self.dtype_policy, folded)
        for number, (filters, strides) in enumerate(stem, start=1):
            name = f"stem{number}"
            policy = first if number == 1 else self.dtype_policy
            conv = ConvNorm(filters, 3, strides, **shared, dtype=policy, name=name)
            setattr(self, name, conv)
        context = dict(context or {"block": "none"})
        context_stages = context.pop("stages", (2, 3, 4))
        if context["block"] == "none":
            context_stages = ()
        if context_stages and not bottleneck:
            raise ValueError(
                f"Context blocks need units with a bottleneck. Received: depth={depth}"
            )
        for stage, (stride, dilation) in enumerate(STAGES[output_stride]):
            first_dilation = max(dilation // 2, 1) if variant == V1C else dilation
            for block in range(num_blocks[stage]):
                unit = ResidualUnit(
                    base_channels * 2**stage,
                    bottleneck,
                    strides=stride if block == 0 else 1,
                    dilation=first_dilation if block == 0 else dilation,
                    variant=variant,
                    context=context if stage + 1 in context_stages else None,
                    name=f"stage{stage + 1}_block{block + 1}",
                    dtype=self.dtype_policy,
                    **shared,
                )
                setattr(self, unit.name, unit)

    def _after_stem(self, features: tf.Tensor) -> tf.Tensor:
        # Explicit zeros + VALID: max_pool2d with explicit padding needs Flex ops in
        # TFLite, and zero is exact because nothing is negative after ReLU.
        features = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tf.nn.max_pool2d(features, ksize=3, strides=2, padding="VALID")

    def _shape_after_stem(self, shape: Shape) -> Shape:
        height, width = (None if side is None else -(-side // 2) for side in shape[1:3])
        return (shape[0], height, width, shape[3])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth": self.depth,
            "base_channels": self.base_channels,
            "variant": self.variant,
            "context": self.context_settings,
            "winograd": self.winograd,
        }
