"""The start of a training, measured in a process of its own.

python -m benchmarks.large.starting BEGAN FOLDER SETTING...
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.large.records import SIDE
from benchmarks.workers import environment, own_command
from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError

_STEPS = 50
# A network whose step takes as little as one of ours can.
SETTINGS = (
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    f"augment.crop_size=[{SIDE},{SIDE}]",
    f"augment.base_scale=[{SIDE},{SIDE}]",
    f"evaluation.scale=[{SIDE},{SIDE}]",
    "train.strategy=one_device",
    "train.batch_size=16",
    "train.log_every=10",
    f"train.iterations={_STEPS}",
)


class Start(NamedTuple):
    """Times of a start, from the command on, and the memory afterwards."""

    imported: float
    """Seconds until TensorFlow was imported."""
    imported_cpu: float
    """Seconds of a core until then, all threads together."""
    stepped: float
    """Seconds until the end of the first step."""
    stepped_cpu: float
    """Seconds of a core until then."""
    peak: float
    """Most resident memory over the first 50 steps, MB."""
    resumed: float
    """Seconds from opening the records in the middle of an epoch to a sample."""
    resumed_cpu: float
    """Seconds of a core for that."""


def measure(records: Path, folder: Path) -> Start:
    """Trains 50 steps in a new process.

    Args:
        records: folder of the records.
        folder: folder of the run.

    Raises:
        UserError: with what the process wrote, when it fails.
    """
    settings = (*SETTINGS, f"data.records={records}", f"data.root={records}/none")
    command = own_command("large.starting", time.time(), folder, *settings)
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment(),
    )
    if result.returncode:
        raise UserError(f"The training ended: {result.stderr[-2000:].strip()}")
    return Start(**json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    began, folder, *settings = sys.argv[1:]
    moments = []

    def note() -> None:
        moments.append((time.time() - float(began), time.process_time()))

    cli.start_tensorflow()
    note()
    import keras

    from gcnet_tf.config import load_config
    from gcnet_tf.data.prepare import matching_manifest
    from gcnet_tf.data.stream.pipeline import training_dataset
    from gcnet_tf.training import train

    class FirstStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                note()

    config = load_config("shapes_r18", settings)
    train(config, Path(folder), callbacks=[FirstStep()])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    num_samples = matching_manifest(config, "train").num_samples
    note()
    stream = training_dataset(config, num_samples // 2 // config.train.batch_size)
    next(iter(stream))
    note()
    (imported, imported_cpu), (stepped, stepped_cpu), begun, read = moments
    resumed, resumed_cpu = np.subtract(read, begun)
    start = Start(
        *(imported, imported_cpu, stepped, stepped_cpu),
        *(peak, resumed, resumed_cpu),
    )
    print(json.dumps(start._asdict()))


if __name__ == "__main__":
    main()
