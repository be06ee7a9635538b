"""Our training step as a process that `train.py` times.

    python -m benchmarks.train_worker CONFIG BATCH HEIGHT WIDTH THREADS

CONFIG is a file; the weights, images and labels are drawn. See `workers.serve` for what
it answers; its streams are "import", which imports TensorFlow, and "run", one step.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

import numpy as np

from benchmarks.infer import IMPORT, RUN
from benchmarks.workers import serve


def step_function(path: str, batch: int, size: tuple[int, int]) -> Callable[[], int]:
    """One step of the configuration's model and optimiser on drawn images."""
    import tensorflow as tf

    from benchmarks.infer_exports import drawn_model
    from gcnet_tf.config import load_config
    from gcnet_tf.data.stream.pipeline import TrainingBatch
    from gcnet_tf.training.optim import make_optimizer
    from gcnet_tf.training.step import make_train_step

    config = load_config(path)
    model = drawn_model(config)
    _, optimizer = make_optimizer(config)
    optimizer.build(model.trainable_weights)
    step = make_train_step(
        model, optimizer, tf.distribute.get_strategy(), config.train.auxiliary_weight
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(0, model.num_classes, (batch, *size), np.uint8)
    data: TrainingBatch = {
        "image": tf.constant(rng.integers(0, 256, (batch, *size, 3), np.uint8)),
        "label": tf.constant(labels),
        "valid_size": tf.constant(np.full((batch, 2), size, np.int32)),
        "seed": tf.constant(rng.integers(0, 2**31, (batch, 2), np.int32)),
    }

    def run() -> int:
        losses = step(data)
        assert all(np.isfinite(float(value)) for value in losses.values())
        return batch

    return run


def main() -> None:
    path = sys.argv[1]
    batch, height, width, threads = map(int, sys.argv[2:])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    @cache
    def runner() -> Callable[[], int]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        return step_function(path, batch, (height, width))

    def import_interpreter() -> int:
        import_module("tensorflow")
        return 0

    serve({IMPORT: import_interpreter, RUN: lambda: runner()()})


if __name__ == "__main__":
    main()
