"""One pass through one context block, as a process that is timed or counted.

    python -m benchmarks.block_worker time BLOCK PASS HEIGHT WIDTH CHANNELS N
    python -m benchmarks.block_worker count BLOCK HEIGHT WIDTH CHANNELS

The first, of N threads, answers as `workers.serve` describes; its streams are "import",
which imports TensorFlow, and "run", one image. The second prints JSON: parameters,
multiply-adds of the forward pass, peak bytes of each pass beyond its inputs and
results, and the bound that the block states, if any.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

import numpy as np

from benchmarks.blocks import INFERENCE, PASSES, TRAINING
from benchmarks.infer import IMPORT, RUN
from benchmarks.workers import serve


def make_layer(block: str, shape: tuple[int, ...], folded: bool = False):
    """A built context block with drawn weights, none of which is all zero."""
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


def make_pass(block: str, which: str, shape: tuple[int, ...]) -> Callable[[], object]:
    """A function that runs one of `PASSES` on a drawn input of this shape.

    Training returns the output and the gradients by the input and the weights.
    """
    import tensorflow as tf

    layer = make_layer(block, shape, folded=which == INFERENCE)
    rng = np.random.default_rng(1)
    inputs = tf.constant(rng.standard_normal(shape, np.float32))
    if which != TRAINING:
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
    """What is known of a block without timing it; see the module."""
    from benchmarks import multiply_adds
    from benchmarks.peak_memory import peak_bytes

    layer = make_layer(block, shape)
    bound = getattr(layer, "peak_bytes", None)
    return {
        "parameters": sum(int(np.prod(w.shape)) for w in layer.trainable_weights),
        "multiply_adds": multiply_adds.of_block(layer, shape),
        "peak_bytes": {
            each: peak_bytes(make_pass(block, each, shape)) for each in PASSES
        },
        "bound_bytes": bound(shape) if bound else None,
    }


def time(block: str, which: str, shape: tuple[int, ...], threads: int) -> None:
    """Answers until the input ends."""

    @cache
    def runner() -> Callable[[], object]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        return make_pass(block, which, shape)

    def import_interpreter() -> int:
        import_module("tensorflow")
        return 0

    def run() -> int:
        runner()()
        return 1

    serve({IMPORT: import_interpreter, RUN: run})


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The processor's allocations and times: a GPU would have others.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    what, block, *rest = sys.argv[1:]
    if what == "time":
        height, width, channels, threads = map(int, rest[1:])
        time(block, rest[0], (1, height, width, channels), threads)
    else:
        height, width, channels = map(int, rest)
        print(json.dumps(count(block, (1, height, width, channels))))


if __name__ == "__main__":
    main()
