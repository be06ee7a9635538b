"""MobileNetV2 and V3 with dilated last stages, for Keras' own weights."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from gcnet_tf.layers import ConvNorm, exact_policy, make_context
from gcnet_tf.layers.convolution.conv import Shape
from gcnet_tf.layers.global_context import rounded_to_multiple
from gcnet_tf.models.backbone import STAGES, Backbone

# The epsilon of every normalisation in Keras' networks.
EPSILON = 1e-3


class Block(NamedTuple):
    """One inverted residual, at width 1."""

    expansion: float
    filters: int
    kernel_size: int = 3
    squeeze: bool = False
    activation: str = "relu"


class Architecture(NamedTuple):
    """A network, from its first convolution to its last.

    Attributes:
        first: channels of the first convolution; of V2 they grow with the width.
        first_activation: of the first and the last convolution.
        stem: blocks of stride 1 before the first stage.
        stages: blocks of each stage, the first of which has a stride of 2.
        last: channels of the 1x1 convolution at the end as a multiple of what goes in;
            None for none.
    """

    first: int
    first_activation: str
    stem: tuple[Block, ...]
    stages: tuple[tuple[Block, ...], ...]
    last: int | None


def _v2(*blocks: tuple[int, int]) -> tuple[Block, ...]:
    """Expands pairs of channels and repetitions."""
    return tuple(
        Block(6, filters, activation="relu6")
        for filters, repetitions in blocks
        for _ in range(repetitions)
    )


ARCHITECTURES = {
    # arXiv 1801.04381, table 2. The last convolution is for classification alone.
    "mobilenet_v2": Architecture(
        first=32,
        first_activation="relu6",
        stem=(Block(1, 16, activation="relu6"),),
        stages=(
            _v2((24, 2)),
            _v2((32, 3)),
            _v2((64, 4), (96, 3)),
            _v2((160, 3), (320, 1)),
        ),
        last=None,
    ),
    # arXiv 1905.02244, tables 1 and 2; expansions as in Keras.
    "mobilenet_v3_large": Architecture(
        first=16,
        first_activation="hard_swish",
        stem=(Block(1, 16),),
        stages=(
            (Block(4, 24), Block(3, 24)),
            (Block(3, 40, 5, True),) * 3,
            (
                Block(6, 80, activation="hard_swish"),
                Block(2.5, 80, activation="hard_swish"),
                *(Block(2.3, 80, activation="hard_swish"),) * 2,
                *(Block(6, 112, 3, True, "hard_swish"),) * 2,
            ),
            (Block(6, 160, 5, True, "hard_swish"),) * 3,
        ),
        last=6,
    ),
    "mobilenet_v3_small": Architecture(
        first=16,
        first_activation="hard_swish",
        stem=(),
        stages=(
            (Block(1, 16, squeeze=True),),
            (Block(72 / 16, 24), Block(88 / 24, 24)),
            (
                Block(4, 40, 5, True, "hard_swish"),
                *(Block(6, 40, 5, True, "hard_swish"),) * 2,
                *(Block(3, 48, 5, True, "hard_swish"),) * 2,
            ),
            (Block(6, 96, 5, True, "hard_swish"),) * 3,
        ),
        last=6,
    ),
}


@keras.saving.register_keras_serializable("gcnet_tf")
class InvertedResidual(keras.layers.Layer):
    """1x1 to many channels, depthwise, squeeze-and-excitation, 1x1 to few.

    Input `(batch, height, width, channels)`, output
    `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    The input is added where it has the shape of the output, unless this is the first
    block of a stage: that has no shortcut, whether or not a dilation has taken its
    stride.

    Args:
        expanded: channels inside; as many as go in: there is no first convolution.
        filters: channels that come out.
        kernel_size: odd side length of the depthwise kernel.
        strides: 1 or 2.
        dilation: of the depthwise convolution.
        squeeze: whether there is a squeeze-and-excitation.
        activation: see `ConvNorm`; the last convolution has none.
        first: whether this is the first block of a stage.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        expanded: int,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation: int = 1,
        squeeze: bool = False,
        activation: str = "relu",
        first: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.expanded = expanded
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation = dilation
        self.activation = activation
        self.first = first
        self.folded = folded
        self.expand: ConvNorm | None = None
        self.depthwise = self._make_conv(
            "depthwise",
            expanded,
            kernel_size=kernel_size,
            strides=strides,
            dilation=dilation,
            kind="depthwise",
        )
        self.squeeze = None
        if squeeze:
            self.squeeze = make_context(
                "se_mmseg",
                ratio=0.25,
                folded=folded,
                name="squeeze",
                dtype=self.dtype_policy,
            )
        self.project = self._make_conv("project", filters, activation=None)

    def _make_conv(self, name: str, filters: int, **options: Any) -> ConvNorm:
        return ConvNorm(
            filters,
            **{"activation": self.activation, **options},
            epsilon=EPSILON,
            folded=self.folded,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.has_shortcut = not self.first and channels == self.filters
        if channels != self.expanded:
            self.expand = self._make_conv("expand", self.expanded)
            self.expand.build(input_shape)
        shape = (*input_shape[:-1], self.expanded)
        self.depthwise.build(shape)
        if self.squeeze is not None:
            self.squeeze.build(shape)
        self.project.build(shape)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = inputs
        if self.expand is not None:
            outputs = self.expand(outputs, training=training)
        outputs = self.depthwise(outputs, training=training)
        if self.squeeze is not None:
            outputs = self.squeeze(outputs)
        outputs = self.project(outputs, training=training)
        return inputs + outputs if self.has_shortcut else outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = self.depthwise.compute_output_shape(input_shape)
        return self.project.compute_output_shape(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "expanded": self.expanded,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation": self.dilation,
            "squeeze": self.squeeze is not None,
            "activation": self.activation,
            "first": self.first,
            "folded": self.folded,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class MobileNet(Backbone):
    """MobileNetV2, V3-Large or V3-Small as in `keras.applications`.

    Images and features are those of `Backbone`. The padding is Keras' too, so that
    Keras' weights give what they give there, for images of any size.

    The first block of a dilated stage keeps the dilation of the stage before, so that
    features at output stride 8 contain those at output stride 16, as in `ResNet`; with
    squeeze-and-excitation nearly so, as its means are over other positions.

    Args:
        architecture: a key of `ARCHITECTURES`.
        width: factor on all numbers of channels; Keras' `alpha`.
        output_stride, frozen_stages, folded: see `Backbone`.

    Raises:
        ValueError: for an unknown architecture or output stride.
    """

    # Keras' weights were trained on -1 to 1.
    mean = (127.5, 127.5, 127.5)
    standard_deviation = (127.5, 127.5, 127.5)

    def __init__(
        self,
        architecture: str = "mobilenet_v3_large",
        width: float = 1.0,
        output_stride: int = 16,
        frozen_stages: int = -1,
        folded: bool = False,
        **kwargs: Any,
    ):
        if architecture not in ARCHITECTURES:
            raise ValueError(
                f"architecture must be one of {list(ARCHITECTURES)}. "
                f"Received: {architecture}"
            )
        plan = ARCHITECTURES[architecture]
        num_blocks = [len(stage) for stage in plan.stages]
        num_blocks[-1] += plan.last is not None
        super().__init__(
            1 + len(plan.stem),
            num_blocks,
            output_stride,
            frozen_stages,
            folded,
            **kwargs,
        )
        self.architecture = architecture
        self.width = width
        grows = architecture == "mobilenet_v2"
        channels = rounded_to_multiple(plan.first * width) if grows else plan.first
        # Pixels in float32: see `ResNet`.
        self.stem1 = ConvNorm(
            channels,
            kernel_size=3,
            strides=2,
            activation=plan.first_activation,
            epsilon=EPSILON,
            kind="same",
            folded=folded,
            name="stem1",
            dtype=exact_policy(self.dtype_policy, folded),
        )
        for number, block in enumerate(plan.stem, start=2):
            channels = self._add(f"stem{number}", block, channels)
        for stage, blocks in enumerate(plan.stages, start=1):
            strides, dilation = STAGES[output_stride][stage - 1]
            for number, block in enumerate(blocks, start=1):
                first = number == 1
                channels = self._add(
                    f"stage{stage}_block{number}",
                    block,
                    channels,
                    strides=(2 if stage == 1 else strides) if first else 1,
                    dilation=max(dilation // 2, 1) if first else dilation,
                    first=first,
                )
        if plan.last is not None:
            name = f"stage4_block{num_blocks[-1]}"
            conv = ConvNorm(
                rounded_to_multiple(channels * plan.last),
                activation=plan.first_activation,
                epsilon=EPSILON,
                folded=folded,
                name=name,
                dtype=self.dtype_policy,
            )
            setattr(self, name, conv)

    def _add(self, name: str, block: Block, channels: int, **arguments: Any) -> int:
        """Makes the block that follows `channels`; returns how many come out of it."""
        filters = rounded_to_multiple(block.filters * self.width)
        residual = InvertedResidual(
            expanded=rounded_to_multiple(channels * block.expansion),
            filters=filters,
            kernel_size=block.kernel_size,
            squeeze=block.squeeze,
            activation=block.activation,
            folded=self.folded,
            name=name,
            dtype=self.dtype_policy,
            **arguments,
        )
        setattr(self, name, residual)
        return filters

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "architecture": self.architecture,
            "width": self.width,
        }
