"""Two ways to compute something, which take turns in one process.

Ratios are medians over the rounds, and hold for one machine.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gcnet_tf.layers.convolution.winograd import fills_tiles, pays

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


def compare(
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


def drawn(*shape: int, fan_in: int = 1) -> tf.Tensor:
    values = np.random.default_rng(0).normal(0, fan_in**-0.5, shape)
    return tf.constant(values, tf.float32)


def features_of(layer: Layer) -> tf.Tensor:
    return drawn(1, layer.side, layer.side, layer.channels)


def kernel_of(layer: Layer) -> np.ndarray:
    shape = (3, 3, layer.channels, layer.filters)
    return drawn(*shape, fan_in=9 * layer.channels).numpy()


def traced(function: Callable, *arguments: tf.Tensor) -> Run:
    compiled = tf.function(function, autograph=False)
    return lambda: compiled(*arguments)
