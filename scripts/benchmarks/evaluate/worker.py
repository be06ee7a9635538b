"""Worker that runs our evaluation.

    python -m benchmarks.evaluate.worker FOLDER THREADS

FOLDER was written by `data.prepare`. The streams are modes, see `workers.serve`: each
evaluates all images and writes the mIoU with `write_miou`.
"""

import os
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.arguments import EVALUATION_MODES
from benchmarks.evaluate.files import CONFIG, OURS, SPLIT, write_miou
from benchmarks.turns import limit_tensorflow
from benchmarks.workers import serve


def main() -> None:
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    limit_tensorflow(threads)
    from gcnet_tf.config import Config
    from gcnet_tf.data.stream.pipeline import evaluation_samples
    from gcnet_tf.evaluation.evaluate import evaluate
    from gcnet_tf.evaluation.load import load_predictor
    from gcnet_tf.runtime import Predictor
    from gcnet_tf.weights.files import WEIGHTS_FILE

    @cache
    def load(mode: str) -> tuple[Predictor, Config]:
        config, weights = str(folder / CONFIG), str(folder / WEIGHTS_FILE)
        return load_predictor(config, weights, None, [], mode)

    def warm_up(mode: str) -> int:
        predictor, config = load(mode)
        sample = next(evaluation_samples(config, SPLIT))
        image = sample["image"]
        num_images = predictor.images_at_once(image.shape[:2])
        predictor.labels(np.stack([image] * num_images))
        return num_images

    def run(mode: str) -> int:
        indices: list[int] = []
        metrics = evaluate(
            *load(mode), SPLIT, on_sample=lambda index, *images: indices.append(index)
        )
        assert metrics is not None  # Nothing stops it.
        write_miou(folder, OURS, mode, metrics.miou)
        return len(indices)

    serve(
        {mode: partial(run, mode) for mode in EVALUATION_MODES},
        {mode: partial(warm_up, mode) for mode in EVALUATION_MODES},
    )


if __name__ == "__main__":
    main()
