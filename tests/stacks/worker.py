"""The other stack's part of `test_stacks`, in its own process.

python tests/stacks/worker.py COMMAND FOLDER

The folder holds config.json. "save" writes model.weights.h5 with random values, and
logits.npy, the logits of `IMAGES`. "load" reads the first file and writes the second
one. "resume" resumes the training in the folder "run".
"""

import sys
from pathlib import Path

import numpy as np

from gcnet_tf.config import load_config
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import load_weights, save_weights, weights_by_path

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 33, 49, 3), np.uint8)


def randomised(config):
    """Builds a model in which no weights are all zero, the same on both stacks."""
    rng = np.random.default_rng(1)
    model = build_model(config)
    for path, weight in sorted(weights_by_path(model).items()):
        low = 0.5 if path.endswith(("gamma", "variance")) else -0.2
        weight.assign(rng.uniform(low, low + 0.5, weight.shape))
    return model


def main(command, folder):
    config = load_config(folder / "config.json")
    weights = folder / "model.weights.h5"
    if command == "resume":
        from gcnet_tf.training import train

        train(config, folder / "run", resume=True)
        return
    model = randomised(config) if command == "save" else build_model(config)
    (save_weights if command == "save" else load_weights)(model, weights)
    np.save(folder / "logits.npy", model(IMAGES)["logits"])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
