"""The base of all backbones: a stem and four stages, which training may freeze."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers.convolution.conv import Shape

# output stride: (stride, dilation) of each stage; the first one is at stride 4
STAGES = {
    8: ((1, 1), (2, 1), (1, 2), (1, 4)),
    16: ((1, 1), (2, 1), (2, 1), (1, 2)),
    32: ((1, 1), (2, 1), (2, 1), (2, 1)),
}


class Backbone(keras.layers.Layer):
    """From normalised images `(batch, height, width, 3)` to the features of each stage.

    They are a dict `{"stage1": …, "stage4": …}` at strides 4, 8, 16 and 32, sizes
    rounded up, or at `output_stride` where that is less: a dilation replaces strides.

    A subclass makes its layers, attributes named "stem1", … and "stage1_block1", …

    Attributes:
        mean, standard_deviation: of red, green and blue in 0-255, by which the images
            are normalised.

    Args:
        num_stem: number of layers before the first stage.
        num_blocks: number of layers of each stage.
        output_stride: 8, 16 or 32, pixels from one position of the last stage to the
            next.
        frozen_stages: 0 freezes the stem, 1 to 4 the stem and so many stages: their
            weights are not trainable and their normalisation uses the running
            statistics; -1 freezes nothing.
        folded: whether this is the inference form (see `ConvNorm`).
    """

    mean: tuple[float, float, float]
    standard_deviation: tuple[float, float, float]

    def __init__(
        self,
        num_stem: int,
        num_blocks: Sequence[int],
        output_stride: int,
        frozen_stages: int,
        folded: bool,
        **kwargs: Any,
    ):
        # No autocast: the first convolution takes pixels as they are.
        super().__init__(**{"autocast": False, **kwargs})
        if output_stride not in STAGES:
            raise ValueError(
                f"output_stride must be one of {list(STAGES)}. "
                f"Received: {output_stride}"
            )
        self.num_stem = num_stem
        self.num_blocks = tuple(num_blocks)
        self.output_stride = output_stride
        self.frozen_stages = frozen_stages
        self.folded = folded

    @property
    def padding_colour(self) -> tuple[int, int, int]:
        """RGB in 0-255 that the normalisation turns to zeros, up to rounding."""
        red, green, blue = (round(value) for value in self.mean)
        return red, green, blue

    @property
    def stem(self) -> list[keras.layers.Layer]:
        """The layers before the first stage."""
        return [getattr(self, f"stem{number + 1}") for number in range(self.num_stem)]

    @property
    def stages(self) -> list[list[keras.layers.Layer]]:
        """The layers of each of the four stages."""
        return [
            [getattr(self, f"stage{stage}_block{block + 1}") for block in range(number)]
            for stage, number in enumerate(self.num_blocks, start=1)
        ]

    def build(self, input_shape: Shape) -> None:
        shape = input_shape
        for layer in self.stem:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        shape = self._shape_after_stem(shape)
        for layer in (layer for stage in self.stages for layer in stage):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        # Only now: Keras would make the weights of a layer not yet built trainable.
        for layer in self._frozen_layers():
            layer.trainable = False
        self.built = True

    def _is_frozen(self, stage: int) -> bool:
        """Tells whether training leaves a stage, 0 for the stem, as it is."""
        return stage <= self.frozen_stages

    def _frozen_layers(self) -> Iterator[keras.layers.Layer]:
        if self._is_frozen(0):
            yield from self.stem
        for number, stage in enumerate(self.stages, start=1):
            if self._is_frozen(number):
                yield from stage

    def call(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        features = images
        for layer in self.stem:
            features = layer(features, training=training and not self._is_frozen(0))
        features = self._after_stem(features)
        outputs = {}
        for number, stage in enumerate(self.stages, start=1):
            for layer in stage:
                trained = training and not self._is_frozen(number)
                features = layer(features, training=trained)
            outputs[f"stage{number}"] = features
        return outputs

    def _after_stem(self, features: tf.Tensor) -> tf.Tensor:
        return features

    def _shape_after_stem(self, shape: Shape) -> Shape:
        return shape

    def compute_output_shape(self, input_shape: Shape) -> dict[str, Shape]:
        shape = input_shape
        for layer in self.stem:
            shape = layer.compute_output_shape(shape)
        shape = self._shape_after_stem(shape)
        shapes = {}
        for number, stage in enumerate(self.stages, start=1):
            for layer in stage:
                shape = layer.compute_output_shape(shape)
            shapes[f"stage{number}"] = shape
        return shapes

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "output_stride": self.output_stride,
            "frozen_stages": self.frozen_stages,
            "folded": self.folded,
        }
