"""Winograd convolution beside direct convolution, layer by layer, and other leads.

The ways that are compared take turns in one process. Ratios are medians over the
rounds, and hold for one machine. `gcnet_tf.layers.winograd.pays` and docs/speed.md
follow from them.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.layers.conv import direct_conv2d
from gcnet_tf.layers.resize import resize_bilinear
from gcnet_tf.layers.winograd import (
    F2,
    F4,
    Form,
    fills_tiles,
    pays,
    trainable_winograd_conv2d,
    transformed_conv2d,
    transformed_kernel,
    winograd_conv2d,
)

Run = Callable[[], object]


class Layer(NamedTuple):
    """A 3x3 convolution of stride 1."""

    channels: int
    filters: int
    dilation: int
    side: int
    """Height and width of the features, in positions."""

    @property
    def fills_tiles(self) -> bool:
        """Tells whether its features are large enough for Winograd's method."""
        return bool(fills_tiles((1, self.side, self.side), self.dilation))

    @property
    def uses_winograd(self) -> bool:
        """Tells whether the networks compute it by Winograd's method."""
        return pays(self.channels, self.filters) and self.fills_tiles

    def __str__(self) -> str:
        dilated = f" dilation {self.dilation}" if self.dilation > 1 else ""
        return f"{self.channels} to {self.filters} at {self.side}x{self.side}{dilated}"


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


class Comparison(NamedTuple):
    """One way to compute something beside the usual way."""

    what: str
    """Name of the computation."""
    way: str
    """Name of the other way."""
    milliseconds: float
    """Median time of the usual way."""
    ratio: float
    """Time of the other way divided by that of the usual one, median of the rounds."""
    difference: float
    """Largest difference of the results, as a share of the largest number; for labels,
    the share that differs."""

    def cells(self) -> list[str]:
        """Returns a line of the table."""
        return [
            self.what,
            self.way,
            f"{self.milliseconds:.1f}",
            f"{self.ratio:.2f}",
            f"{self.difference:.1e}",
        ]


HEAD = ["what", "way", "ms", "ratio", "difference"]


def compare_layers(layers: Sequence[Layer], rounds: int) -> list[Comparison]:
    """Compares each layer with both of Winograd's forms, and in training."""
    comparisons = []
    for layer in tqdm(layers, desc="layers", disable=None):
        usual, *others = _forward(layer)
        ways = dict(zip((_way(layer), "F(2x2)"), others))
        comparisons += _compare(str(layer), usual, ways, rounds)
        usual, other = _training(layer)
        ways = {f"training, {_way(layer)}": other}
        comparisons += _compare(str(layer), usual, ways, rounds)
    return comparisons


def compare_sizes(layers: Sequence[Layer], rounds: int) -> list[Comparison]:
    """Compares each layer with F(4x4)."""
    comparisons = []
    for layer in tqdm(layers, desc="sizes", disable=None):
        usual, other, _ = _forward(layer)
        comparisons += _compare(str(layer), usual, {_way(layer): other}, rounds)
    return comparisons


def _way(layer: Layer) -> str:
    return "F(4x4)" if layer.uses_winograd else "F(4x4), not in use"


def compare_leads(rounds: int) -> list[Comparison]:
    """Compares other ways that might be faster in the inference graph."""
    comparisons = []
    for name, build_ways in tqdm(_LEADS.items(), desc="leads", disable=None):
        usual, other = build_ways()
        comparisons += _compare(name, usual, {"lead": other}, rounds)
    return comparisons


def _compare(
    name: str, usual: Run, others: dict[str, Run], rounds: int
) -> list[Comparison]:
    runs = [usual, *others.values()]
    results = [np.concatenate([np.ravel(x) for x in _list(run())]) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, run_times in zip(runs, times):
            start = time.perf_counter()
            run()
            run_times.append(time.perf_counter() - start)
    return [
        Comparison(
            name,
            way,
            1000 * statistics.median(times[0]),
            statistics.median(own / base for own, base in zip(way_times, times[0])),
            _difference(results[0], result),
        )
        for way, way_times, result in zip(others, times[1:], results[1:])
    ]


def _difference(expected: np.ndarray, result: np.ndarray) -> float:
    if np.issubdtype(expected.dtype, np.integer):
        return float(np.mean(expected != result))
    return float(np.abs(expected - result).max() / np.abs(expected).max())


def _list(results: object) -> list:
    return list(results) if isinstance(results, (list, tuple)) else [results]


def _drawn(*shape: int, fan_in: int = 1) -> tf.Tensor:
    values = np.random.default_rng(0).normal(0, fan_in**-0.5, shape)
    return tf.constant(values, tf.float32)


def _features(layer: Layer) -> tf.Tensor:
    return _drawn(1, layer.side, layer.side, layer.channels)


def _kernel(layer: Layer) -> np.ndarray:
    shape = (3, 3, layer.channels, layer.filters)
    return _drawn(*shape, fan_in=9 * layer.channels).numpy()


def _traced(function: Callable, *arguments: tf.Tensor) -> Run:
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*arguments)


def _forward(layer: Layer) -> list[Run]:
    """Returns the ways to compute a layer: direct, F(4x4) and F(2x2)."""
    inputs, kernel, dilation = _features(layer), _kernel(layer), layer.dilation
    # As the inference graph has them: direct kernels constant, others transformed once.
    ways: list[Callable] = [
        lambda inputs: direct_conv2d(inputs, tf.constant(kernel), dilation)
    ]
    for form in (F4, F2):
        weights = transformed_kernel(tf.constant(kernel), form)
        ways.append(partial(_winograd, weights=weights, dilation=dilation, form=form))
    return [_traced(way, inputs) for way in ways]


def _winograd(
    inputs: tf.Tensor, weights: tf.Tensor, dilation: int, form: Form
) -> tf.Tensor:
    return transformed_conv2d([inputs], weights, dilation, form)


def _training(layer: Layer) -> list[Run]:
    """Returns the ways to compute a layer with both of its gradients."""
    inputs, kernel = _features(layer), tf.constant(_kernel(layer))
    upstream = _drawn(1, layer.side, layer.side, layer.filters)

    def step_of(convolve):
        def step(inputs, kernel, upstream):
            with tf.GradientTape() as tape:
                tape.watch([inputs, kernel])
                outputs = convolve(inputs, kernel, layer.dilation)
            return [outputs, *tape.gradient(outputs, [inputs, kernel], upstream)]

        return _traced(step, inputs, kernel, upstream)

    return [step_of(direct_conv2d), step_of(trainable_winograd_conv2d)]


# Leads: each function returns the usual way, and another way to the same result.


def _one_wide_convolution() -> tuple[Run, Run]:
    """Computes two convolutions of one input as a single one."""
    layer = Layer(2048, 512, 1, 64)
    inputs, kernel = _features(layer), _kernel(layer)

    def apart(inputs):
        kernels = tf.constant(kernel), tf.constant(kernel[::-1].copy())
        return [winograd_conv2d(inputs, weights) for weights in kernels]

    def together(inputs):
        both = tf.constant(np.concatenate([kernel, kernel[::-1]], axis=-1))
        return tf.split(winograd_conv2d(inputs, both), 2, axis=-1)

    return _traced(apart, inputs), _traced(together, inputs)


def _joined_inputs() -> tuple[Run, Run]:
    """Joins the inputs of the head's last convolution without a copy.

    Its first and last convolution both take the backbone's features.
    """
    first, last = Layer(2048, 512, 1, 64), Layer(2560, 512, 1, 64)
    features, context = _features(first), _drawn(1, 64, 64, 512)
    kernels = _kernel(first), _kernel(last)

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

    return _traced(usual, features, context), _traced(other, features, context)


def _padded_classes() -> tuple[Run, Run]:
    """Pads the 21 filters of the classifier to 32."""
    inputs = _drawn(1, 64, 64, 512)
    kernel = _drawn(1, 1, 512, 21, fan_in=512).numpy()
    padded = np.pad(kernel, [(0, 0)] * 3 + [(0, 11)])

    def usual(inputs):
        return tf.nn.conv2d(inputs, tf.constant(kernel), 1, "SAME")

    def other(inputs):
        return tf.nn.conv2d(inputs, tf.constant(padded), 1, "SAME")[..., :21]

    return _traced(usual, inputs), _traced(other, inputs)


def _constant_bfloat16() -> tuple[Run, Run]:
    """Makes the weights a constant, which oneDNN reorders once instead of each time."""
    layer = Layer(512, 512, 4, 64)
    inputs = tf.cast(_features(layer), tf.bfloat16)
    kernel = tf.cast(_kernel(layer), tf.bfloat16)
    values = kernel.numpy()

    def convolve(inputs, weights):
        return tf.cast(direct_conv2d(inputs, weights, layer.dilation), tf.float32)

    return (
        _traced(convolve, inputs, kernel),
        _traced(lambda inputs: convolve(inputs, tf.constant(values)), inputs),
    )


def _labels_in_strips(classes: int) -> Callable[[], tuple[Run, Run]]:
    """Returns a builder of the argmax of enlarged logits in strips of 64 rows."""
    side, factor, strip = 64, 8, 64

    def build() -> tuple[Run, Run]:
        logits = _drawn(1, side, side, classes)
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

        return _traced(usual, logits), _traced(other, logits)

    return build


_LEADS = {
    "two convolutions of 2048 to 512 as one of 1,024 outputs": _one_wide_convolution,
    "2048 to 512 and 2560 to 512, joined without a copy": _joined_inputs,
    "21 classes padded to 32": _padded_classes,
    "bfloat16, 512 to 512: weights as a constant": _constant_bfloat16,
    "labels of 21 classes in strips": _labels_in_strips(21),
    "labels of 150 classes in strips": _labels_in_strips(150),
}
