"""ResNet-V1c with dilated last stages (spec: mmsegmentation's ResNetV1c-D8)."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers import ConvNorm, exact_policy

# depth: (blocks per stage, whether blocks are bottlenecks)
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}
# output stride: (stride, dilation) of each stage
STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
}
EXPANSION = 4


@keras.saving.register_keras_serializable("gcnet_tf")
class ResidualUnit(keras.layers.Layer):
    """Two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 (bottleneck), plus a shortcut.

    The stride and the dilation sit on the first 3x3 convolution; the second one of a
    basic unit is never dilated. The shortcut is a 1x1 convolution where the stride or
    the number of channels changes, else the identity. The last scale starts at zero, so
    that a new unit is the identity.

    Args:
        channels: channels of the 3x3 convolution.
        bottleneck: which of the two kinds; a bottleneck puts out `4 * channels`.
        strides: 1 or 2.
        dilation: dilation of the first 3x3 convolution.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    def __init__(
        self,
        channels: int,
        bottleneck: bool,
        strides: int = 1,
        dilation: int = 1,
        folded: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels = channels
        self.bottleneck = bottleneck
        self.strides = strides
        self.dilation = dilation
        self.folded = folded
        self.filters = channels * (EXPANSION if bottleneck else 1)
        wide: dict[str, Any] = {
            "filters": channels,
            "kernel_size": 3,
            "strides": strides,
            "dilation": dilation,
        }
        last = {"relu": False, "gamma_initializer": "zeros"}
        if bottleneck:
            arguments = [{"filters": channels}, wide, {"filters": self.filters, **last}]
        else:
            arguments = [wide, {"filters": channels, "kernel_size": 3, **last}]
        # An attribute each, not a list: weights files name them, and older versions of
        # Keras lose what is in lists of lists.
        for number, each in enumerate(arguments, start=1):
            setattr(self, f"conv{number}", self._conv(f"conv{number}", **each))
        self.shortcut: ConvNorm | None = None

    @property
    def convs(self) -> list[ConvNorm]:
        """The convolutions of the main path, in order."""
        return [getattr(self, f"conv{n}") for n in range(1, 3 + self.bottleneck)]

    def _conv(self, name, **arguments):
        return ConvNorm(
            **arguments, folded=self.folded, name=name, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        if self.strides > 1 or input_shape[-1] != self.filters:
            self.shortcut = self._conv(
                "shortcut", filters=self.filters, strides=self.strides, relu=False
            )
            self.shortcut.build(input_shape)
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs, training=False):
        outputs = inputs
        for conv in self.convs:
            outputs = conv(outputs, training=training)
        if self.shortcut is not None:
            inputs = self.shortcut(inputs, training=training)
        return tf.nn.relu(inputs + outputs)

    def compute_output_shape(self, input_shape):
        for conv in self.convs:
            input_shape = conv.compute_output_shape(input_shape)
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "bottleneck": self.bottleneck,
            "strides": self.strides,
            "dilation": self.dilation,
            "folded": self.folded,
        }


def _halved(shape):
    """The shape after a pooling with stride 2."""
    height, width = (None if side is None else -(-side // 2) for side in shape[1:3])
    return (shape[0], height, width, shape[3])


@keras.saving.register_keras_serializable("gcnet_tf")
class ResNet(keras.layers.Layer):
    """Dilated ResNet-V1c: three 3x3 convolutions as the stem, then four stages.

    Takes normalised images `(batch, height, width, 3)` and returns a dict of features
    `{"stage1": …, "stage4": …}` at strides 4, 8, 8, 8 (output stride 8) or 4, 8, 16, 16
    (output stride 16), sizes rounded up.

    The first block of a dilated stage takes half the stage's dilation ("contracted"
    dilation), which makes the features at output stride 8, subsampled, equal to those
    at output stride 16 (bottleneck depths).

    Args:
        depth: 18, 34, 50 or 101.
        base_channels: channels of the stem and of stage 1's blocks.
        output_stride: 8 or 16.
        frozen_stages: 0 freezes the stem, 1 to 4 the stem and so many stages: their
            weights are not trainable and their normalisation uses the running
            statistics; -1 freezes nothing.
        folded: whether this is the inference form (see `ConvNorm`).

    Raises:
        ValueError: for an unknown depth or output stride.
    """

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        output_stride: int = 8,
        frozen_stages: int = -1,
        folded: bool = False,
        **kwargs,
    ):
        # No autocast: see the first convolution.
        super().__init__(**{"autocast": False, **kwargs})
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {list(DEPTHS)}. Received: {depth}")
        if output_stride not in STAGES:
            raise ValueError(
                f"output_stride must be one of {list(STAGES)}. "
                f"Received: {output_stride}"
            )
        self.depth = depth
        self.base_channels = base_channels
        self.output_stride = output_stride
        self.frozen_stages = frozen_stages
        self.folded = folded
        half = base_channels // 2
        shared = {"folded": folded, "dtype": self.dtype_policy}
        stem = [(half, 2), (half, 1), (base_channels, 1)]
        # Pixels and their differences are too fine for 16 bits: this one convolution
        # in float32 takes no time, and saves two thirds of the labels that bfloat16
        # changes.
        first = exact_policy(self.dtype_policy, folded)
        for number, (filters, strides) in enumerate(stem, start=1):
            name = f"stem{number}"
            policy = first if number == 1 else self.dtype_policy
            conv = ConvNorm(filters, 3, strides, folded=folded, dtype=policy, name=name)
            setattr(self, name, conv)
        num_blocks, bottleneck = DEPTHS[depth]
        for stage, (stride, dilation) in enumerate(STAGES[output_stride]):
            for block in range(num_blocks[stage]):
                unit = ResidualUnit(
                    base_channels * 2**stage,
                    bottleneck,
                    strides=stride if block == 0 else 1,
                    dilation=max(dilation // 2, 1) if block == 0 else dilation,
                    name=f"stage{stage + 1}_block{block + 1}",
                    **shared,
                )
                setattr(self, unit.name, unit)

    @property
    def stem(self) -> list[ConvNorm]:
        """The three convolutions before the pooling."""
        return [getattr(self, f"stem{number}") for number in (1, 2, 3)]

    @property
    def stages(self) -> list[list[ResidualUnit]]:
        """The residual units of each of the four stages."""
        return [
            [getattr(self, f"stage{stage}_block{block + 1}") for block in range(number)]
            for stage, number in enumerate(DEPTHS[self.depth][0], start=1)
        ]

    def build(self, input_shape):
        shape = input_shape
        for conv in self.stem:
            conv.build(shape)
            shape = conv.compute_output_shape(shape)
        shape = _halved(shape)
        for unit in (unit for stage in self.stages for unit in stage):
            unit.build(shape)
            shape = unit.compute_output_shape(shape)
        # Only now: Keras would make the weights of a layer not yet built trainable.
        for layer in self._frozen_layers():
            layer.trainable = False
        self.built = True

    def _is_frozen(self, stage):
        """Whether a stage, 0 for the stem, is left as it is."""
        return stage <= self.frozen_stages

    def _frozen_layers(self):
        if self._is_frozen(0):
            yield from self.stem
        for number, stage in enumerate(self.stages, start=1):
            if self._is_frozen(number):
                yield from stage

    def call(self, images, training=False):
        features = images
        for conv in self.stem:
            features = conv(features, training=training and not self._is_frozen(0))
        # Explicit zeros + VALID: max_pool2d with explicit padding needs Flex ops in
        # TFLite, and zero is exact because nothing is negative after ReLU.
        features = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]])
        features = tf.nn.max_pool2d(features, ksize=3, strides=2, padding="VALID")
        outputs = {}
        for number, stage in enumerate(self.stages, start=1):
            for unit in stage:
                trained = training and not self._is_frozen(number)
                features = unit(features, training=trained)
            outputs[f"stage{number}"] = features
        return outputs

    def compute_output_shape(self, input_shape):
        shape = input_shape
        for conv in self.stem:
            shape = conv.compute_output_shape(shape)
        shape = _halved(shape)
        shapes = {}
        for number, stage in enumerate(self.stages, start=1):
            for unit in stage:
                shape = unit.compute_output_shape(shape)
            shapes[f"stage{number}"] = shape
        return shapes

    def get_config(self):
        return {
            **super().get_config(),
            "depth": self.depth,
            "base_channels": self.base_channels,
            "output_stride": self.output_stride,
            "frozen_stages": self.frozen_stages,
            "folded": self.folded,
        }
