"""The program that test_multi_worker.py runs as each of two workers; see there.

python tests/training/worker_checks.py FOLDER

It trains FOLDER/<name>.json in FOLDER/<name>, and writes each worker's losses and error
to FOLDER/<name>_<index>.json.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import keras
from shallow import DEPTHS

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import resnet
from gcnet_tf.training import WorkerLost, train
from gcnet_tf.training.distributed.strategy import check_equal_gpus, make_strategy

DIES_AT = 7


class Die(keras.callbacks.Callback):
    """A callback that kills the second worker in the middle of a run."""

    def on_train_batch_end(self, batch, logs=None):
        if INDEX == 1 and batch + 1 == DIES_AT:
            time.sleep(5)  # so that the first worker ends this step, too
            os.kill(os.getpid(), signal.SIGKILL)


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])


def main() -> None:
    folder = Path(sys.argv[1])
    resnet.DEPTHS = DEPTHS
    make_strategy("multi_worker")
    try:
        check_equal_gpus(INDEX, 2, INDEX)
    except UserError as raised:
        (folder / f"gpus_{INDEX}.json").write_text(json.dumps(str(raised)))
    check_equal_gpus(INDEX, 2, 3)
    # The last one kills the second worker.
    for name in ("mixed_bfloat16", "mixed_float16", "skip", "stop", "float64"):
        has_damage = INDEX == 1 and name in ("skip", "stop")
        settings = [f"data.records={folder / 'damaged'}"] if has_damage else []
        config = load_config(str(folder / f"{name}.json"), settings)
        losses, error = Losses(), None
        callbacks = [losses, *([Die()] if name == "float64" else [])]
        # Each worker has its own folder, to show which one writes.
        run = folder / f"{name}{'' if INDEX == 0 else '_other'}"
        try:
            train(config, run, callbacks=callbacks)
        except (WorkerLost, UserError) as raised:
            error = f"{type(raised).__name__}: {raised}"
        outcome = {"losses": losses.values, "error": error}
        (folder / f"{name}_{INDEX}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    INDEX = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    main()
