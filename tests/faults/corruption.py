"""Flipped bits in files: noticed, or without any effect, but never used."""

import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gcnet_tf import compat
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.records.damage import READ_ERRORS, check_sizes
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.checkpoints import restore_checkpoint
from gcnet_tf.training.optimization.optimizers import make_optimizer
from gcnet_tf.weights.files import list_checkpoints, load_weights, newest_checkpoint

# Reads files, and returns their contents in a form that `_same` compares.
Reader = Callable[[], object]


def flip_everywhere(
    config: Config, run: Path, num_flips: int, seed: int
) -> dict[str, Counter]:
    """Flips single bits at random places of each kind of file, one at a time.

    Args:
        config: configuration of the run; its records are damaged and restored.
        run: folder of a finished run, whose files are damaged and restored.
        num_flips: number of flipped bits for each kind.
        seed: decides the places.

    Returns:
        By kind, the numbers of "noticed", "harmless" and "used" flips. The last one
        must be 0.
    """
    model = build_model(config)
    _, optimizer = make_optimizer(config)
    compat.build_optimizer(optimizer, model)
    records = Path(config.data.records) / "train"
    checkpoint = list_checkpoints(run)[-1]

    def read_samples():
        check_sizes(config, "train")
        return list(evaluation_samples(config, "train"))

    def read_training():
        state = restore_checkpoint(checkpoint, model, optimizer)
        variables = [*model.variables, *compat.optimizer_variables(optimizer)]
        return [state, *[variable.numpy() for variable in variables]]

    def read_newest():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if newest_checkpoint(run) != checkpoint:
                raise UserError("passed over")
        return read_training()

    def read_best():
        load_weights(model, run / "best.weights.h5")
        return [weight.numpy() for weight in model.weights]

    kinds: dict[str, tuple[list[Path], Reader]] = {
        "records": (sorted(records.glob("*.tfrecord")), read_samples),
        "manifest of records": (
            [records / "manifest.json"],
            lambda: read_manifest(config.data.records, "train"),
        ),
        "checkpoint": (sorted(checkpoint.iterdir()), read_newest),
        "best weights": ([run / "best.weights.h5"], read_best),
        "configuration of a run": (
            [run / "config.json"],
            lambda: load_config(run / "config.json"),
        ),
    }
    rng = random.Random(seed)
    return {
        kind: _flip_often(rng, files, reader, num_flips)
        for kind, (files, reader) in kinds.items()
    }


def _flip_often(
    rng: random.Random, files: list[Path], reader: Reader, num_flips: int
) -> Counter:
    """Flips bits one at a time, and counts the effects on what the reader returns."""
    expected = reader()
    return Counter(_flip(rng, files, reader, expected) for _ in range(num_flips))


def _flip(
    rng: random.Random, files: list[Path], reader: Reader, expected: object
) -> str:
    """Flips a bit, reads the files, restores the byte, and returns the effect."""
    path = rng.choice(files)
    intact = path.read_bytes()
    damaged = bytearray(intact)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
        contents = reader()
    except (UserError, *READ_ERRORS):
        return "noticed"
    finally:
        path.write_bytes(intact)
    return "harmless" if _same(contents, expected) else "used"


def _same(first, second) -> bool:
    """Compares nested dicts, lists and arrays."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            _same(first[key], second[key]) for key in first
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    if hasattr(first, "shape"):
        return bool(np.array_equal(first, second))
    return first == second
