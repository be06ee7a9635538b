"""Windows of iterations, of the training loop and of bare steps in turn."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.shapes import generate_shapes
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.models import build_model
from gcnet_tf.training import train
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.optimization.optimizers import make_optimizer
from gcnet_tf.training.step import make_train_step

# A network whose step takes as little as one of ours can.
_TINY = (
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "augment.crop_size=[32,32]",
    "augment.base_scale=[32,32]",
    "evaluation.scale=[32,32]",
    "train.batch_size=2",
)


class Window(NamedTuple):
    """Seconds of equally many iterations, one after the other."""

    bare: float
    loop: float

    @property
    def ratio(self) -> float:
        """Iterations per second of the loop, divided by those of bare steps."""
        return self.bare / self.loop


def measure(rounds: int, iterations: int, folder: Path) -> list[Window]:
    """Trains a tiny network, and measures bare steps in between.

    Args:
        rounds: number of windows that count; one before them does not.
        iterations: iterations of a window, at the end of which the loop logs.
        folder: new folder for data and run.
    """
    generate_shapes(folder / "images", num_train=64, num_val=1, size=32, seed=0)
    config = load_config(
        "shapes_r18",
        [
            *_TINY,
            f"data.root={folder / 'images'}",
            f"data.records={folder / 'records'}",
            f"train.log_every={iterations}",
            f"train.iterations={(rounds + 1) * iterations + 1}",
            f"train.evaluate_every={10**6}",
            f"train.checkpoint_every={10**6}",
        ],
    )
    ensure_records(config)
    between = Between(iterations, bare_steps(config))
    train(config, folder / "run", callbacks=[between])
    return between.windows[1:]  # without the one that traces and compiles


class Between(keras.callbacks.Callback):
    """A callback that measures bare steps after each window of the loop.

    It is called before iterations, for which the loop does not read any losses.
    """

    def __init__(self, iterations: int, run_bare: Callable[[int], object]):
        super().__init__()
        self._iterations, self._run_bare = iterations, run_bare
        self._start = 0.0
        self.windows: list[Window] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if batch % self._iterations:
            return
        loop = time.perf_counter() - self._start
        start = time.perf_counter()
        self._run_bare(self._iterations)
        if batch:
            self.windows.append(Window(time.perf_counter() - start, loop))
        self._start = time.perf_counter()


def bare_steps(config: Config) -> Callable[[int], float]:
    """Returns a function that takes a number of steps, with batches of the records."""
    strategy = make_strategy(config.train.strategy, config.train.logical_cpus)
    with strategy.scope():
        model = build_model(config)
        _, optimizer = make_optimizer(config)
        compat.build_optimizer(optimizer, model)
    step = make_train_step(model, optimizer, strategy, config.train.auxiliary_weight)

    def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
        batches = training_dataset(config, num_replicas=context.num_replicas_in_sync)
        return batches.map(lambda batch: {k: batch[k] for k in batch if k != "name"})

    batches: Iterator = iter(strategy.distribute_datasets_from_function(dataset))

    def run(iterations: int) -> float:
        for _ in range(iterations):
            losses = step(next(batches))
        return float(losses["decode_loss"])  # when all are computed

    return run
