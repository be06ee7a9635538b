"""Our evaluation as a process that `evaluate.py` times.

    python -m benchmarks.evaluate_worker FOLDER THREADS

FOLDER is what `evaluate_data.prepare` wrote. See `workers.serve` for what it answers;
its streams are modes, each of which evaluates all images and writes what `write_scores`
writes.
"""

import os
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.arguments import EVALUATION_MODES
from benchmarks.evaluate_files import CONFIG, OURS, SPLIT, write_scores
from benchmarks.workers import serve


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    from gcnet_tf.config import Config
    from gcnet_tf.data.stream.pipeline import evaluation_dataset
    from gcnet_tf.evaluation.evaluate import evaluate
    from gcnet_tf.evaluation.load import load_predictor
    from gcnet_tf.runtime import Predictor
    from gcnet_tf.weights.files import WEIGHTS_FILE

    @cache
    def loaded(mode: str) -> tuple[Predictor, Config]:
        config, weights = str(folder / CONFIG), str(folder / WEIGHTS_FILE)
        return load_predictor(config, weights, None, [], mode)

    def warm_up(mode: str) -> int:
        predictor, config = loaded(mode)
        sample = next(iter(evaluation_dataset(config, SPLIT)))
        image = sample["image"].numpy()
        number = predictor.images_at_once(image.shape[:2])
        predictor.labels(np.stack([image] * number))
        return number

    def run(mode: str) -> int:
        seen: list[int] = []
        metrics = evaluate(
            *loaded(mode), SPLIT, on_sample=lambda index, *images: seen.append(index)
        )
        assert metrics is not None  # nothing stops it
        write_scores(folder, OURS, mode, metrics.miou)
        return len(seen)

    serve(
        {mode: partial(run, mode) for mode in EVALUATION_MODES},
        {mode: partial(warm_up, mode) for mode in EVALUATION_MODES},
    )


if __name__ == "__main__":
    main()
