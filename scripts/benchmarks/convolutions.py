"""Winograd's convolution beside the definition, layer by layer, and other leads.

What is compared takes turns in one process; ratios are medians over the rounds, and go
with one machine. `gcnet_tf.layers.winograd.pays` and docs/speed.md follow from them.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.layers.conv import direct_conv2d
from gcnet_tf.layers.resize import resize_bilinear
from gcnet_tf.layers.winograd import (
    F2,
    pays,
    trainable_winograd_conv2d,
    winograd_conv2d,
)

Run = Callable[[], object]


class Layer(NamedTuple):
    """A 3x3 convolution of stride 1."""

    channels: int
    filters: int
    dilation: int
    side: int
    """Of the features, in positions."""

    def __str__(self) -> str:
        dilated = f" dilation {self.dilation}" if self.dilation > 1 else ""
        return f"{self.channels} to {self.filters} at {self.side}x{self.side}{dilated}"


# Those of R50 (and in part R18) for an image of 512x512, and smaller features.
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


class Comparison(NamedTuple):
    """One way of doing something beside another."""

    what: str
    way: str
    milliseconds: float
    """Of the usual way, median."""
    ratio: float
    """Of the other way's time to it, median over the rounds."""
    difference: float
    """The largest between the results, as a share of the largest number; of labels, the
    share that differs."""

    def cells(self) -> list[str]:
        """For a table."""
        return [
            self.what,
            self.way,
            f"{self.milliseconds:.1f}",
            f"{self.ratio:.2f}",
            f"{self.difference:.1e}",
        ]


HEAD = ["what", "way", "ms", "ratio", "difference"]


def compare_layers(layers: Sequence[Layer], rounds: int) -> list[Comparison]:
    """Each layer by both of Winograd's forms, and in training."""
    found = []
    for layer in tqdm(layers, desc="layers", disable=None):
        mark = "" if pays(layer.channels, layer.filters) else ", not in use"
        usual, *others = _forward(layer)
        found += _compare(
            str(layer), usual, dict(zip((f"F(4x4){mark}", "F(2x2)"), others)), rounds
        )
        usual, other = _training(layer)
        found += _compare(str(layer), usual, {f"training, F(4x4){mark}": other}, rounds)
    return found


def compare_leads(rounds: int) -> list[Comparison]:
    """What else might be faster in the inference graph."""
    found = []
    for what, make in tqdm(_LEADS.items(), desc="leads", disable=None):
        usual, other = make()
        found += _compare(what, usual, {"lead": other}, rounds)
    return found


def _compare(
    what: str, usual: Run, others: dict[str, Run], rounds: int
) -> list[Comparison]:
    runs = [usual, *others.values()]
    results = [np.concatenate([np.ravel(x) for x in _list(run())]) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, each in zip(runs, times):
            start = time.perf_counter()
            run()
            each.append(time.perf_counter() - start)
    return [
        Comparison(
            what,
            way,
            1000 * statistics.median(times[0]),
            statistics.median(one / base for one, base in zip(each, times[0])),
            _difference(results[0], result),
        )
        for way, each, result in zip(others, times[1:], results[1:])
    ]


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if np.issubdtype(one.dtype, np.integer):
        return float(np.mean(one != other))
    return float(np.abs(one - other).max() / np.abs(one).max())


def _list(results: object) -> list:
    return list(results) if isinstance(results, (list, tuple)) else [results]


def _drawn(*shape: int, fan_in: int = 1) -> tf.Tensor:
    numbers = np.random.default_rng(0).normal(0, fan_in**-0.5, shape)
    return tf.constant(numbers, tf.float32)


def _features(layer: Layer) -> tf.Tensor:
    return _drawn(1, layer.side, layer.side, layer.channels)


def _kernel(layer: Layer) -> np.ndarray:
    shape = (3, 3, layer.channels, layer.filters)
    return _drawn(*shape, fan_in=9 * layer.channels).numpy()


def _traced(function: Callable, *arguments: tf.Tensor) -> Run:
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*arguments)


def _forward(layer: Layer) -> list[Run]:
    inputs, kernel = _features(layer), _kernel(layer)

    def ways(inputs):
        # A constant of the graph, as weights are there.
        weights, dilation = tf.constant(kernel), layer.dilation
        yield lambda: direct_conv2d(inputs, weights, dilation)
        yield lambda: winograd_conv2d(inputs, weights, dilation)
        yield lambda: winograd_conv2d(inputs, weights, dilation, F2)

    return [
        _traced(lambda inputs, n=number: list(ways(inputs))[n](), inputs)
        for number in range(3)
    ]


def _training(layer: Layer) -> list[Run]:
    """With both gradients."""
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


# Leads. Each gives the usual way, and another of the same result.


def _one_wide_convolution() -> tuple[Run, Run]:
    layer = Layer(2048, 512, 1, 64)
    inputs, kernel = _features(layer), _kernel(layer)

    def apart(inputs):
        one, other = tf.constant(kernel), tf.constant(kernel[::-1].copy())
        return [winograd_conv2d(inputs, one), winograd_conv2d(inputs, other)]

    def together(inputs):
        both = tf.constant(np.concatenate([kernel, kernel[::-1]], axis=-1))
        return tf.split(winograd_conv2d(inputs, both), 2, axis=-1)

    return _traced(apart, inputs), _traced(together, inputs)


def _joined_inputs() -> tuple[Run, Run]:
    """The head's first and last convolution, which both see the backbone's features."""
    first, last = Layer(2048, 512, 1, 64), Layer(2560, 512, 1, 64)
    features, context = _features(first), _drawn(1, 64, 64, 512)
    kernels = _kernel(first), _kernel(last)

    def convolve(features, joined):
        one, other = map(tf.constant, kernels)
        return [winograd_conv2d(features, one), winograd_conv2d(joined, other)]

    def usual(features, context):
        return convolve(features, tf.concat([features, context], axis=-1))

    def other(features, context):
        return convolve(features, [features, context])

    return _traced(usual, features, context), _traced(other, features, context)


def _padded_classes() -> tuple[Run, Run]:
    inputs = _drawn(1, 64, 64, 512)
    kernel = _drawn(1, 1, 512, 21, fan_in=512).numpy()
    padded = np.pad(kernel, [(0, 0)] * 3 + [(0, 11)])

    def usual(inputs):
        return tf.nn.conv2d(inputs, tf.constant(kernel), 1, "SAME")

    def other(inputs):
        return tf.nn.conv2d(inputs, tf.constant(padded), 1, "SAME")[..., :21]

    return _traced(usual, inputs), _traced(other, inputs)


def _constant_bfloat16() -> tuple[Run, Run]:
    """oneDNN reorders the weights of a constant once, of anything else each time."""
    layer = Layer(512, 512, 4, 64)
    inputs = tf.cast(_features(layer), tf.bfloat16)
    kernel = tf.cast(_kernel(layer), tf.bfloat16)
    numbers = kernel.numpy()

    def convolve(inputs, weights):
        return tf.cast(direct_conv2d(inputs, weights, layer.dilation), tf.float32)

    return (
        _traced(convolve, inputs, kernel),
        _traced(lambda inputs: convolve(inputs, tf.constant(numbers)), inputs),
    )


def _labels_in_strips(classes: int) -> Callable[[], tuple[Run, Run]]:
    """The argmax of enlarged scores, at once, and in strips of 64 rows."""
    side, factor, strip = 64, 8, 64

    def make() -> tuple[Run, Run]:
        scores = _drawn(1, side, side, classes)
        size = side * factor

        def usual(scores):
            return tf.argmax(resize_bilinear(scores, (size, size), False), -1)

        def other(scores):
            rows = np.maximum((np.arange(size) + 0.5) / factor - 0.5, 0)
            low = rows.astype(int)
            share = (rows - low).astype(np.float32)[:, np.newaxis, np.newaxis]
            high = np.minimum(low + 1, side - 1)
            labels: list[tf.Tensor] = []
            for start in range(0, size, strip):
                part = slice(start, start + strip)
                # One after the other, or all would be in memory at once.
                with tf.control_dependencies(labels[-1:]):
                    upper = tf.gather(scores, low[part], axis=1)
                    lower = tf.gather(scores, high[part], axis=1)
                    lines = upper + (lower - upper) * share[part]
                    lines = resize_bilinear(lines, (strip, size), False)
                    labels.append(tf.argmax(lines, -1))
            return tf.concat(labels, axis=1)

        return _traced(usual, scores), _traced(other, scores)

    return make


_LEADS = {
    "two convolutions of 2048 to 512 as one of 1,024 outputs": _one_wide_convolution,
    "2048 to 512 and 2560 to 512, joined without a copy": _joined_inputs,
    "21 classes padded to 32": _padded_classes,
    "bfloat16, 512 to 512: weights as a constant": _constant_bfloat16,
    "labels of 21 classes in strips": _labels_in_strips(21),
    "labels of 150 classes in strips": _labels_in_strips(150),
}
