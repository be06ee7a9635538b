"""Worker that runs the inference graph of a configuration, with drawn weights.

    python -m benchmarks.network_worker CONFIG HEIGHT WIDTH THREADS

See `turns.serve_candidate` for its streams; a run computes the logits of one image.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.turns import limit_tensorflow, serve_candidate


def open_network(cfg: str, size: tuple[int, int], threads: int) -> Callable[[], object]:
    """Returns a function that computes the logits of one image."""
    import tensorflow as tf

    from benchmarks.drawn import drawn_model
    from gcnet_tf.config import load_config
    from gcnet_tf.models.inference_graph import inference_function

    limit_tensorflow(threads)
    infer = inference_function(drawn_model(load_config(cfg)), size)
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    images = tf.constant(image)
    return lambda: infer(images)


def main() -> None:
    height, width, threads = map(int, sys.argv[2:])
    serve_candidate(
        "tensorflow", partial(open_network, sys.argv[1], (height, width), threads)
    )


if __name__ == "__main__":
    main()
