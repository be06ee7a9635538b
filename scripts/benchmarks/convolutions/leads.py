"""Other leads that might make networks faster, each beside the usual way."""

from collections.abc import Callable

import numpy as np
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
from gcnet_tf.layers.convolution.trainable import direct_conv2d, trainable_conv2d
from gcnet_tf.layers.convolution.winograd import winograd_conv2d
from gcnet_tf.layers.resize import resize_bilinear


def compare_leads(rounds: int) -> list[Comparison]:
    """Compares other ways that might be faster."""
    comparisons = []
    for name, build_ways in tqdm(_LEADS.items(), desc="leads", disable=None):
        usual, other = build_ways()
        comparisons += compare(name, usual, {"lead": other}, rounds)
    return comparisons


# Leads: each function returns the usual way, and another way to the same result.


def _one_wide_convolution() -> tuple[Run, Run]:
    """Computes two convolutions of one input as a single one."""
    layer = Layer(2048, 512, 1, 64)
    inputs, kernel = features_of(layer), kernel_of(layer)

    def apart(inputs):
        kernels = tf.constant(kernel), tf.constant(kernel[::-1].copy())
        return [winograd_conv2d(inputs, weights) for weights in kernels]

    def together(inputs):
        both = tf.constant(np.concatenate([kernel, kernel[::-1]], axis=-1))
        return tf.split(winograd_conv2d(inputs, both), 2, axis=-1)

    return traced(apart, inputs), traced(together, inputs)


def _joined_inputs() -> tuple[Run, Run]:
    """Joins the inputs of the head's last convolution without a copy.

    Its first and last convolution both take the backbone's features.
    """
    first, last = Layer(2048, 512, 1, 64), Layer(2560, 512, 1, 64)
    features, context = features_of(first), drawn(1, 64, 64, 512)
    kernels = kernel_of(first), kernel_of(last)

    def convolve(features, joined):
        first_kernel, last_kernel = map(tf.constant, kernels)
        return [
            winograd_conv2d(features, first_kernel),
            winograd_conv2d(joined, last_kernel),
        ]

    def usual(features, context):
        return convolve(features, tf.concat([features, context], axis=-1))

    def other(features, context):
        return convolve(features, [features, context])

    return traced(usual, features, context), traced(other, features, context)


def _padded_classes() -> tuple[Run, Run]:
    """Pads the 21 filters of the classifier to 32."""
    inputs = drawn(1, 64, 64, 512)
    kernel = drawn(1, 1, 512, 21, fan_in=512).numpy()
    padded = np.pad(kernel, [(0, 0)] * 3 + [(0, 11)])

    def usual(inputs):
        return tf.nn.conv2d(inputs, tf.constant(kernel), 1, "SAME")

    def other(inputs):
        return tf.nn.conv2d(inputs, tf.constant(padded), 1, "SAME")[..., :21]

    return traced(usual, inputs), traced(other, inputs)


def _constant_bfloat16() -> tuple[Run, Run]:
    """Makes the weights a constant, which oneDNN reorders once instead of each time."""
    layer = Layer(512, 512, 4, 64)
    inputs = tf.cast(features_of(layer), tf.bfloat16)
    kernel = tf.cast(kernel_of(layer), tf.bfloat16)
    values = kernel.numpy()

    def convolve(inputs, weights):
        return tf.cast(direct_conv2d(inputs, weights, layer.dilation), tf.float32)

    return (
        traced(convolve, inputs, kernel),
        traced(lambda inputs: convolve(inputs, tf.constant(values)), inputs),
    )


def _product_of_matrices(dtype: tf.DType) -> Callable[[], tuple[Run, Run]]:
    """Returns a builder of the gradient of a 1x1 kernel."""

    def build() -> tuple[Run, Run]:
        inputs = tf.cast(drawn(1, 64, 64, 512), dtype)
        upstream = tf.cast(drawn(1, 64, 64, 128), dtype)
        kernel = tf.cast(drawn(1, 1, 512, 128, fan_in=512), dtype)

        def gradient_of(convolve: Callable) -> Run:
            def gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
                with tf.GradientTape() as tape:
                    tape.watch(kernel)
                    outputs = convolve(inputs, kernel)
                return tf.cast(tape.gradient(outputs, kernel, upstream), tf.float32)

            return traced(gradient, inputs, upstream)

        return gradient_of(direct_conv2d), gradient_of(trainable_conv2d)

    return build


def _labels_in_strips(classes: int) -> Callable[[], tuple[Run, Run]]:
    """Returns a builder of the argmax of enlarged logits in strips of 64 rows."""
    side, factor, strip = 64, 8, 64

    def build() -> tuple[Run, Run]:
        logits = drawn(1, side, side, classes)
        size = side * factor

        def usual(logits):
            return tf.argmax(resize_bilinear(logits, (size, size), False), -1)

        def other(logits):
            rows = np.maximum((np.arange(size) + 0.5) / factor - 0.5, 0)
            low = rows.astype(int)
            share = (rows - low).astype(np.float32)[:, np.newaxis, np.newaxis]
            high = np.minimum(low + 1, side - 1)
            labels: list[tf.Tensor] = []
            for start in range(0, size, strip):
                part = slice(start, start + strip)
                # The strips take turns, or all of them would be in memory at once.
                with tf.control_dependencies(labels[-1:]):
                    upper = tf.gather(logits, low[part], axis=1)
                    lower = tf.gather(logits, high[part], axis=1)
                    lines = upper + (lower - upper) * share[part]
                    lines = resize_bilinear(lines, (strip, size), False)
                    labels.append(tf.argmax(lines, -1))
            return tf.concat(labels, axis=1)

        return traced(usual, logits), traced(other, logits)

    return build


_LEADS = {
    "two convolutions of 2048 to 512 as one of 1,024 outputs": _one_wide_convolution,
    "2048 to 512 and 2560 to 512, joined without a copy": _joined_inputs,
    "21 classes padded to 32": _padded_classes,
    "bfloat16, 512 to 512: weights as a constant": _constant_bfloat16,
    "1x1, 512 to 128: the kernel's gradient": _product_of_matrices(tf.float32),
    "the same in bfloat16": _product_of_matrices(tf.bfloat16),
    "labels of 21 classes in strips": _labels_in_strips(21),
    "labels of 150 classes in strips": _labels_in_strips(150),
}
