"""Worker that runs one pass through one context block, to time or count it.

    python -m benchmarks.blocks.worker time BLOCK PASS HEIGHT WIDTH CHANNELS THREADS
    python -m benchmarks.blocks.worker count BLOCK HEIGHT WIDTH CHANNELS

The first one serves the streams of `turns.serve_candidate`; a run is one image. The
second one prints JSON: parameters, multiply-adds of the forward pass, peak bytes of
each pass without inputs and results, and the bound that the block states, if any.
"""

import json
import os
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.blocks.costs import INFERENCE, PASSES, TRAINING
from benchmarks.turns import limit_tensorflow, serve_candidate


def make_layer(block: str, shape: tuple[int, ...], folded: bool = False):
    """Builds a context block with drawn weights, none of which are all zero."""
    import keras

    from gcnet_tf.layers import make_context

    keras.utils.set_random_seed(0)
    layer = make_context(block, folded=folded)
    assert layer is not None
    layer.build(shape)
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        if not np.any(weight):
            weight.assign(rng.uniform(0.5, 1, weight.shape) / weight.shape[-1] ** 0.5)
    return layer


def make_pass(
    block: str, pass_name: str, shape: tuple[int, ...]
) -> Callable[[], object]:
    """Returns a function that runs one of `PASSES` on a drawn input of this shape.

    The function of the training pass returns the output, and the gradients by the input
    and the weights.
    """
    import tensorflow as tf

    layer = make_layer(block, shape, folded=pass_name == INFERENCE)
    rng = np.random.default_rng(1)
    inputs = tf.constant(rng.standard_normal(shape, np.float32))
    if pass_name != TRAINING:
        forward = tf.function(layer)
        return lambda: forward(inputs)
    upstream = tf.constant(rng.standard_normal(shape, np.float32))

    @tf.function
    def train(inputs, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
        sources = [inputs, *layer.trainable_variables]
        return outputs, tape.gradient(outputs, sources, upstream)

    return lambda: train(inputs, upstream)


def count(block: str, shape: tuple[int, int, int, int]) -> dict:
    """Returns the costs of a block that are counted; see the module."""
    from benchmarks.blocks import multiply_adds
    from benchmarks.blocks.peak_memory import peak_bytes

    layer = make_layer(block, shape)
    bound = getattr(layer, "peak_bytes", None)
    return {
        "parameters": sum(int(np.prod(w.shape)) for w in layer.trainable_weights),
        "multiply_adds": multiply_adds.of_block(layer, shape),
        "peak_bytes": {
            pass_name: peak_bytes(make_pass(block, pass_name, shape))
            for pass_name in PASSES
        },
        "bound_bytes": bound(shape) if bound else None,
    }


def time(block: str, pass_name: str, shape: tuple[int, ...], threads: int) -> None:
    """Serves the streams of a candidate until the input ends."""

    def open_pass() -> Callable[[], object]:
        limit_tensorflow(threads)
        return make_pass(block, pass_name, shape)

    serve_candidate("tensorflow", open_pass)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Allocations and times are those of the processor, not of a GPU.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    command, block, *rest = sys.argv[1:]
    if command == "time":
        height, width, channels, threads = map(int, rest[1:])
        time(block, rest[0], (1, height, width, channels), threads)
    else:
        height, width, channels = map(int, rest)
        print(json.dumps(count(block, (1, height, width, channels))))


if __name__ == "__main__":
    main()
