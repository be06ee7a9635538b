"""Memory of a long training, and of the evaluation of large images with many classes.

This file runs as a program as well, so that each measurement has its own process.
"""

import gc
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MB = 2**20


def training_growth(num_iterations: int, warm_up: int, folder: Path) -> dict:
    """Trains a tiny model, and returns the resident memory in MB by iteration.

    The training reads records, evaluates, and writes checkpoints and logs.
    """
    import keras
    from tiny import tiny_run

    memory: dict[int, float] = {}

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if (batch + 1) % (warm_up // 2) == 0:
                gc.collect()
                memory[batch + 1] = resident() / MB

    tiny_run(
        folder,
        f"train.iterations={num_iterations}",
        "train.log_every=10",
        f"train.evaluate_every={warm_up // 2}",
        f"train.checkpoint_every={warm_up // 2}",
        callbacks=[Watch()],
    )
    return memory


def growth_after(memory: dict[int, float], warm_up: int) -> float:
    """Returns the growth of memory after the warm-up, in MB.

    This is the median of the second half minus that of the first half. A leak raises
    the whole second half; a buffer that comes and goes does not.
    """
    after = [
        megabytes for iteration, megabytes in memory.items() if iteration >= warm_up
    ]
    middle = len(after) // 2
    return float(np.median(after[middle:]) - np.median(after[:middle]))


def evaluation_peak(height: int, width: int, num_classes: int) -> dict:
    """Measures the memory of the evaluation of one image, in MB.

    Returns:
        "before": resident memory before the image, with the network; "peak": peak
        memory; "logits": size of the logits at full size, height * width *
        num_classes * 4 bytes.
    """
    from gcnet_tf.config.load import config_from_dict
    from gcnet_tf.evaluation.load import predictor_from_model
    from gcnet_tf.evaluation.metrics import ConfusionMatrix
    from gcnet_tf.models import build_model

    raw = {
        "data": {
            "dataset": "folder",
            "classes": [f"class {index}" for index in range(num_classes)],
        },
        "model": {
            "backbone": {"depth": 18, "base_channels": 8},
            "head": {"channels": 32},
            "auxiliary": {"channels": 16},
        },
        # The scale is smaller than the image, so that logits are resized to it as well.
        "evaluation": {"scale": [width // 2, height // 2]},
    }
    config = config_from_dict(raw)
    predictor = predictor_from_model(build_model(config), config)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (64, 64, 3), np.uint8)
    predictor.labels(small)
    before = resident() / MB
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    labels = predictor.labels(image)
    ConfusionMatrix(num_classes).update(labels, labels)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    logits = height * width * num_classes * 4 / MB
    return {"before": before, "peak": peak, "logits": logits}


def resident() -> float:
    """Returns the resident memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def measured(*arguments: object) -> dict:
    """Runs this file with these arguments in a new process, and returns its result."""
    words: Sequence[str] = [sys.executable, __file__, *map(str, arguments)]
    result = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    subject, *numbers = sys.argv[1:]
    if subject == "training":
        with tempfile.TemporaryDirectory() as folder:
            num_iterations, warm_up = map(int, numbers)
            result = training_growth(num_iterations, warm_up, Path(folder))
    else:
        result = evaluation_peak(*map(int, numbers))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
