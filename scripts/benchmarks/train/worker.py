"""Worker that trains: our training step on drawn weights, images and labels.

    python -m benchmarks.train.worker CONFIG BATCH HEIGHT WIDTH THREADS

CONFIG is a file. See `turns.serve_candidate` for the streams; a run is one step.
"""

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.turns import limit_tensorflow, serve_candidate


def step_function(path: str, batch: int, size: tuple[int, int]) -> Callable[[], int]:
    """Returns a function that takes one training step and returns the batch size.

    Args:
        path: configuration file, whose model and optimiser train.
        batch: number of images of a step.
        size: (height, width) of the images.
    """
    import tensorflow as tf

    from benchmarks.drawn import drawn_model
    from gcnet_tf.config import load_config
    from gcnet_tf.data.stream.pipeline import TrainingBatch
    from gcnet_tf.training.optimization.optimizers import make_optimizer
    from gcnet_tf.training.step import make_train_step

    config = load_config(path)
    model = drawn_model(config)
    _, optimizer = make_optimizer(config)
    optimizer.build(model.trainable_weights)
    step = make_train_step(
        model,
        optimizer,
        tf.distribute.get_strategy(),
        config.train.auxiliary_weight,
        accumulate=config.train.accumulate,
        jit_compile=config.train.jit_compile,
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

    def open_step() -> Callable[[], int]:
        limit_tensorflow(threads)
        return step_function(path, batch, (height, width))

    serve_candidate("tensorflow", open_step, batch)


if __name__ == "__main__":
    main()
