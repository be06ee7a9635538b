"""Winograd convolution beside direct convolution, layer by layer.

`pays` of `gcnet_tf.layers.convolution.winograd`, the rule of `trainable` beside it, and
docs/speed.md follow from these times.
"""

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf
from tqdm import tqdm

from benchmarks.convolutions.comparison import (
    Comparison,
    Layer,
    Run,
    compare,
    drawn,
    features_of,
    kernel_of,
    traced,
)
from gcnet_tf.compat import has_dilated_gradient
from gcnet_tf.layers.convolution.trainable import (
    direct_conv2d,
    trainable_winograd_conv2d,
)
from gcnet_tf.layers.convolution.winograd import (
    F2,
    F4,
    Form,
    transformed_conv2d,
    transformed_kernel,
)

# Layers of R50 (and in part of R18) for an image of 512x512, and smaller features.
LAYERS = (
    Layer(64, 64, 1, 128),
    Layer(128, 128, 1, 64),
    Layer(128, 256, 1, 64),
    Layer(256, 256, 2, 64),
    Layer(512, 512, 4, 64),
    Layer(512, 512, 1, 64),
    Layer(1024, 256, 1, 64),
    Layer(2048, 512, 1, 64),
    Layer(2560, 512, 1, 64),
    Layer(256, 256, 2, 16),
    Layer(512, 512, 4, 12),
)
# For the rule: the networks' channels and dilations, by the features' side.
SIZES = tuple(
    Layer(channels, channels, dilation, side)
    for channels, dilation in ((64, 1), (128, 1), (256, 2), (512, 4))
    for side in (12, 33, 64, 97, 128)
)


def compare_layers(layers: Sequence[Layer], rounds: int) -> list[Comparison]:
    """Compares each layer with both of Winograd's forms, and in training.

    In bfloat16 with the kernel's gradient alone, where oneDNN computes that type.
    """
    comparisons = []
    for layer in tqdm(layers, desc="layers", disable=None):
        usual, *others = _forward(layer, [F4, F2])
        ways = dict(zip((_way(layer), "F(2x2)"), others))
        comparisons += compare(str(layer), usual, ways, rounds)
        usual, other = _training(layer, tf.float32)
        ways = {f"training, {_way(layer)}": other}
        comparisons += compare(str(layer), usual, ways, rounds)
        if has_dilated_gradient(tf.bfloat16):
            usual, other = _training(layer, tf.bfloat16)
            ways = {"training in bfloat16, F(4x4) for the kernel's gradient": other}
            comparisons += compare(str(layer), usual, ways, rounds)
    return comparisons


def compare_sizes(layers: Sequence[Layer], rounds: int) -> list[Comparison]:
    """Compares each layer with F(4x4)."""
    comparisons = []
    for layer in tqdm(layers, desc="sizes", disable=None):
        usual, other = _forward(layer, [F4])
        comparisons += compare(str(layer), usual, {_way(layer): other}, rounds)
    return comparisons


def _way(layer: Layer) -> str:
    return "F(4x4)" if layer.uses_winograd else "F(4x4), not in use"


def _forward(layer: Layer, forms: Sequence[Form]) -> list[Run]:
    """Returns the ways to compute a layer: direct, and by each of Winograd's forms."""
    inputs, kernel, dilation = features_of(layer), kernel_of(layer), layer.dilation
    # As the inference graph has them: direct kernels constant, others transformed once.
    ways: list[Callable] = [
        lambda inputs: direct_conv2d(inputs, tf.constant(kernel), dilation)
    ]
    for form in forms:
        weights = transformed_kernel(tf.constant(kernel), form)
        ways.append(partial(_winograd, weights=weights, dilation=dilation, form=form))
    return [traced(way, inputs) for way in ways]


def _winograd(
    inputs: tf.Tensor, weights: tf.Tensor, dilation: int, form: Form
) -> tf.Tensor:
    return transformed_conv2d([inputs], weights, dilation, form)


def _training(layer: Layer, dtype: tf.DType) -> list[Run]:
    """Returns the ways to compute a layer with both of its gradients."""
    arrays = [
        features_of(layer),
        tf.constant(kernel_of(layer)),
        drawn(1, layer.side, layer.side, layer.filters),
    ]
    arrays = [tf.cast(array, dtype) for array in arrays]
    winograd = partial(trainable_winograd_conv2d, outputs=dtype == tf.float32)

    def step_of(convolve: Callable) -> Run:
        def step(
            inputs: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor
        ) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch([inputs, kernel])
                outputs = convolve(inputs, kernel, layer.dilation)
            gradients = tape.gradient(outputs, [inputs, kernel], upstream)
            return [tf.cast(values, tf.float32) for values in [outputs, *gradients]]

        return traced(step, *arrays)

    return [step_of(direct_conv2d), step_of(winograd)]
