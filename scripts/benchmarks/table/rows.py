"""The columns of the published table, measured on this machine.

Each number comes from a process of its own, which holds the GPU alone.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workers import environment, own_command
from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.windows import keep_ratio_size, windows
from gcnet_tf.weights import official

IMAGE_SIZES = {"cityscapes": (1024, 2048), "voc12aug": (375, 500), "ade20k": (512, 683)}
"""(height, width) of a data set's images; the usual one where they differ."""
WARM_UP = 5
"""Number of images that do not count, as in the reference."""
STEPS = 3
"""Number of training steps whose memory is measured."""
_REFERENCE_GPUS = 4

# Multiply-adds of an input pixel, forwards (docs/reference.md), and of a training step,
# as many again for each of both gradients.
_MULTIPLY_ADDS = {50: 754e3, 101: 1050e3}
_OF_STEP = 3
# Seconds to start TensorFlow, and to build and trace a network.
_START_SECONDS = 60


class Device(NamedTuple):
    """The device that the numbers come from."""

    name: str
    is_gpu: bool
    rate: float
    """Multiply-adds per second of a large convolution."""
    arithmetic: str
    """Rounding of float32, in words; "" for none."""


class Cost(NamedTuple):
    """Numbers of one row; None where it could not be measured."""

    memory_gb: float | None
    """Peak memory of training with the images of one of the reference's GPUs, GiB."""
    fps: float | None
    """Images per second, from an image to its labels."""
    parameters: int
    """Number of parameters, those of the auxiliary head included."""
    errors: tuple[str, ...] = ()


def published_rows(names: Iterable[str] | None = None) -> dict[str, Config]:
    """Returns the configurations of published rows by name.

    Args:
        names: names of rows; None for the 16 of GCNet.

    Raises:
        UserError: for a name that is no published row.
    """
    rows = {name: load_config(name) for name in official.published_rows()}
    if names is None:
        return {
            name: config
            for name, config in rows.items()
            if config.model.head.context.block == "gc"
        }
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in rows:
            raise UserError(
                f"--rows: received {name}; allowed: published rows, which are "
                f"{', '.join(rows)}."
            )
    return {name: rows[name] for name in chosen}


def batch_of(config: Config) -> int:
    """Returns the number of images on one of the reference's GPUs."""
    return max(config.train.batch_size // _REFERENCE_GPUS, 1)


def network_and_protocol(config: Config) -> str:
    """Returns a text that is the same for rows that differ in their schedule alone."""
    parts = (config.model, config.augment.crop_size, config.evaluation)
    return repr((*parts, config.data.dataset, batch_of(config)))


def measure_row(config: Config, images: int) -> Cost:
    """Measures one row in processes of their own.

    Args:
        config: a configuration of a published data set.
        images: number of images, of which the first `WARM_UP` do not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config_to_dict(config)), encoding="utf-8")
        answers: dict[str, Any] = {}
        errors: list[str] = []
        for kind, number in (("memory", batch_of(config)), ("speed", images)):
            try:
                answers |= _ask(kind, file, number)
            except UserError as error:
                errors.append(str(error))
    memory = answers.get("memory")
    return Cost(
        None if memory is None else memory / 2**30,
        answers.get("fps"),
        answers.get("parameters", 0),
        tuple(errors),
    )


@cache
def device() -> Device:
    """Measures the device on which the rows will run, for `seconds_of`."""
    return Device(**_ask("device"))


def seconds_of(config: Config, images: int) -> float:
    """Estimates the seconds that `measure_row` takes on `device`."""
    height, width = keep_ratio_size(
        *IMAGE_SIZES[config.data.dataset], config.evaluation.scale
    )
    pixels = height * width
    if config.evaluation.mode == "slide":
        window = config.evaluation.window
        count = len(list(windows(height, width, window, config.evaluation.stride)))
        pixels = count * window[0] * window[1]
    crop_height, crop_width = config.augment.crop_size
    trained = _OF_STEP * STEPS * batch_of(config) * crop_height * crop_width
    per_pixel = _MULTIPLY_ADDS[config.model.backbone.depth]
    total = per_pixel * (images * pixels + trained)
    return 2 * _START_SECONDS + total / device().rate


def _ask(kind: str, *words: object) -> dict[str, Any]:
    """Returns what a worker of this kind prints, see `worker`.

    Raises:
        UserError: with the worker's last line, when it fails.
    """
    command = [str(word) for word in own_command("table.worker", kind, *words)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(), encoding="utf-8"
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise UserError(f"{kind}: {lines[-1]}")
    return json.loads(result.stdout.strip().splitlines()[-1])
