"""The inference graph of a configuration, as a process that `infer.py` times.

    python -m benchmarks.network_worker CONFIG HEIGHT WIDTH THREADS

Its weights are drawn. See `workers.serve` for what it answers; its streams are
"import", which imports TensorFlow, and "run", one image.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

import numpy as np

from benchmarks.infer import IMPORT, RUN
from benchmarks.workers import serve


@cache
def network(cfg: str, size: tuple[int, int], threads: int) -> Callable[[], object]:
    """A function that computes the logits of one image."""
    import tensorflow as tf

    from benchmarks.infer_exports import drawn_model
    from gcnet_tf.config import load_config
    from gcnet_tf.models.inference_graph import inference_function

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    infer = inference_function(drawn_model(load_config(cfg)), size)
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    images = tf.constant(image)
    return lambda: infer(images)


def main() -> None:
    cfg = sys.argv[1]
    height, width, threads = map(int, sys.argv[2:])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def import_interpreter() -> int:
        import_module("tensorflow")
        return 0

    def run() -> int:
        network(cfg, (height, width), threads)()
        return 1

    serve({IMPORT: import_interpreter, RUN: run})


if __name__ == "__main__":
    main()
