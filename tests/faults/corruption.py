"""One changed byte: noticed, or without any effect; never used."""

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
from gcnet_tf.data.stream.pipeline import evaluation_dataset
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.checkpoints import restore_checkpoint
from gcnet_tf.training.optim import make_optimizer
from gcnet_tf.weights.files import list_checkpoints, load_weights, newest_checkpoint

# A look at files: what they say, in a form that `_same` compares.
Look = Callable[[], object]


def flip_everywhere(
    config: Config, run: Path, places: int, seed: int
) -> dict[str, Counter]:
    """Flips a bit in a byte at random places of each kind of file, one at a time.

    Args:
        config: that of the run; its records are damaged and put back.
        run: a finished run, damaged and put back.
        places: how many for each kind.
        seed: decides the places.

    Returns:
        By kind, how many were "noticed", "harmless" and "used"; the last must be 0.
    """
    model = build_model(config)
    _, optimizer = make_optimizer(config)
    compat.build_optimizer(optimizer, model)
    records = Path(config.data.records) / "train"
    checkpoint = list_checkpoints(run)[-1]

    def samples():
        check_sizes(config, "train")
        return list(evaluation_dataset(config, "train").as_numpy_iterator())

    def training():
        state = restore_checkpoint(checkpoint, model, optimizer)
        variables = [*model.variables, *compat.optimizer_variables(optimizer)]
        return [state, *[variable.numpy() for variable in variables]]

    def newest():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if newest_checkpoint(run) != checkpoint:
                raise UserError("passed over")
        return training()

    def best():
        load_weights(model, run / "best.weights.h5")
        return [weight.numpy() for weight in model.weights]

    kinds: dict[str, tuple[list[Path], Look]] = {
        "records": (sorted(records.glob("*.tfrecord")), samples),
        "manifest of records": (
            [records / "manifest.json"],
            lambda: read_manifest(config.data.records, "train"),
        ),
        "checkpoint": (sorted(checkpoint.iterdir()), newest),
        "best weights": ([run / "best.weights.h5"], best),
        "configuration of a run": (
            [run / "config.json"],
            lambda: load_config(run / "config.json"),
        ),
    }
    rng = random.Random(seed)
    return {
        kind: Counter(_flip(rng, files, look) for _ in range(places))
        for kind, (files, look) in ((k, (f, _once(lk))) for k, (f, lk) in kinds.items())
    }


def _once(look: Look) -> tuple[Look, object]:
    """A look, and what it sees while all is intact."""
    return look, look()


def _flip(rng: random.Random, files: list[Path], look: tuple[Look, object]) -> str:
    """Flips a bit, looks, and puts the byte back."""
    path = rng.choice(files)
    intact = path.read_bytes()
    damaged = bytearray(intact)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
        seen = look[0]()
    except (UserError, *READ_ERRORS):
        return "noticed"
    finally:
        path.write_bytes(intact)
    return "harmless" if _same(seen, look[1]) else "used"


def _same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other)) if hasattr(one, "shape") else one == other
