"""Worker of a training on two hosts, on drawn weights, images and labels.

    python -m benchmarks.network.worker CONFIG

CONFIG is a file; the first image of a batch is each worker's own. It answers "count" by
the number of exchanges in a step, "exchange N" by the seconds of N exchanges of one
number, and "synchronised N" and "own N" by the seconds of N training steps, with
normalisation by the batches of all workers or by the worker's own. Answers are JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from gcnet_tf.config import Config, load_config
from gcnet_tf.layers import norm

SYNCHRONISED, OWN = "synchronised", "own"


@contextmanager
def own_statistics() -> Iterator[None]:
    """Lets models that are traced in here normalise by their own replica's batch."""
    with patch.object(norm, "_fused_over_replicas", norm._fused):
        yield


def make_step(config: Config) -> tuple[Callable[[], None], int]:
    """Returns a training step, and the number of exchanges in it."""
    import tensorflow as tf

    from benchmarks.drawn import drawn_model
    from gcnet_tf import compat
    from gcnet_tf.data.stream.pipeline import TrainingBatch
    from gcnet_tf.training.distributed.strategy import strategy_of
    from gcnet_tf.training.optimization.optimizers import make_optimizer
    from gcnet_tf.training.step import make_train_step

    strategy = strategy_of(config.train)
    with strategy.scope():
        model = drawn_model(config)
        _, optimizer = make_optimizer(config)
        compat.build_optimizer(optimizer, model)
    step: Any = make_train_step(
        model, optimizer, strategy, config.train.auxiliary_weight
    )
    size = config.augment.crop_size
    rng = np.random.default_rng(0)
    labels = rng.integers(0, model.num_classes, (1, *size), np.uint8)
    batch: TrainingBatch = {
        "image": tf.constant(rng.integers(0, 256, (1, *size, 3), np.uint8)),
        "label": tf.constant(labels),
        "valid_size": tf.constant(np.full((1, 2), size, np.int32)),
        "seed": tf.constant(rng.integers(0, 2**31, (1, 2), np.int32)),
    }

    def run() -> None:
        losses = step(batch)
        assert all(np.isfinite(float(value)) for value in losses.values())

    # Traced once: `run` takes the same function.
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes += function.node_def
    kinds = ("CollectiveReduce", "CollectiveGather", "CollectiveBcast")
    return run, sum(node.op.startswith(kinds) for node in nodes)


def main() -> None:
    config = load_config(sys.argv[1])
    synchronised, num_synchronised = make_step(config)
    with own_statistics():
        own, num_own = make_step(config)

    from gcnet_tf.training.distributed.exchange import sum_over_workers

    def exchange() -> None:
        sum_over_workers(np.zeros(1, np.float32), 2)

    streams = {"exchange": exchange, SYNCHRONISED: synchronised, OWN: own}
    for line in sys.stdin:
        name, *number = line.split()
        if name == "count":
            answer: object = {SYNCHRONISED: num_synchronised, OWN: num_own}
        else:
            answer = [_seconds(streams[name]) for _ in range(int(number[0]))]
        print(f"answer {json.dumps(answer)}", flush=True)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
