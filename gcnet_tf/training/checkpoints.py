"""Checkpoints, with which a training resumes as if it had never stopped.

A checkpoint is a folder `checkpoints/00000400/` with `model.weights.h5` (an ordinary
weights file), `optimizer.npz` and `state.json`, which holds a checksum of each. The
folder gets its name when it is complete and on the disk. So a killed run leaves no half
checkpoint, and `weights.files.newest_checkpoint` notices one that a disk has damaged.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import (
    PARTIAL,
    new_folder,
    partial_path,
    remove_folder,
    write_text,
)
from gcnet_tf.files.checksum import file_sha256, sealed
from gcnet_tf.files.names import quoted
from gcnet_tf.files.reading import CannotRead, reading
from gcnet_tf.training.optimization.optimizers import optimizer_state
from gcnet_tf.weights.files import (
    BEST_METRICS,
    BEST_WEIGHTS,
    STATE_FILE,
    WEIGHTS_FILE,
    best_miou,
    checked_state,
    checkpoint_state,
    list_checkpoints,
    load_weights,
    save_weights,
    values_hash,
    weights_by_path,
)

OPTIMIZER_FILE = "optimizer.npz"


class Values(NamedTuple):
    """The values of all variables of a training, read once for every use."""

    weights: dict[str, np.ndarray]
    optimizer: dict[str, Any]  # arrays; np.savez takes no narrower type


def read_values(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Values:
    """Reads all weights by their paths, and the variables of the built optimiser."""
    variables = weights_by_path(model), optimizer_state(optimizer)
    return Values(*({name: v.numpy() for name, v in of.items()} for of in variables))


def not_finite(values: Values) -> str:
    """Returns the name of a variable with a value that is not finite; "" for none.

    A loss can be finite and its gradient not: the weights are lost after the step.
    """
    all_values = {**values.weights, **values.optimizer}
    bad = (name for name, value in all_values.items() if not np.isfinite(value).all())
    return next(bad, "")


def save_checkpoint(
    run: Path, model: keras.Model, values: Values, state: dict, keep: int
) -> Path:
    """Writes a checkpoint and removes all but the newest `keep`.

    Where the checkpoint of this iteration holds the same weights and optimiser already,
    only its state is replaced.

    Args:
        run: the run folder.
        model: model whose weights are saved.
        values: what `read_values` read of it and of its optimiser.
        state: values for JSON; `state["iteration"]` names the checkpoint.
        keep: number of checkpoints to keep.

    Returns:
        The folder of the checkpoint.
    """
    final = run / "checkpoints" / f"{state['iteration']:08d}"
    state = {**state, "variables": _digest(values)}
    if digests := _digests_of_same(final, state["variables"]):
        write_text(final / STATE_FILE, _state_text(state, digests))
    else:
        with new_folder(final) as partial:
            save_weights(model, partial / WEIGHTS_FILE)
            np.savez(partial / OPTIMIZER_FILE, **values.optimizer)
            digests = {
                name: file_sha256(partial / name)
                for name in (WEIGHTS_FILE, OPTIMIZER_FILE)
            }
            (partial / STATE_FILE).write_text(
                _state_text(state, digests), encoding="utf-8"
            )
    checkpoints = list_checkpoints(run)
    index = checkpoints.index(final)
    # Checkpoints after this iteration are damaged ones that the resumed run skipped.
    for checkpoint in (
        checkpoints[: max(index + 1 - keep, 0)] + checkpoints[index + 1 :]
    ):
        remove_folder(checkpoint)
    for leftover in final.parent.glob(f"{PARTIAL}*"):  # of a run that was killed
        shutil.rmtree(leftover)
    return final


def _digest(values: Values) -> str:
    """Returns the SHA-256 of the values of all weights and of the optimiser."""
    digest = hashlib.sha256(values_hash(values.weights).encode())
    for name, value in values.optimizer.items():
        digest.update(f"{name}\0{value.dtype}{value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _digests_of_same(checkpoint: Path, variables: str) -> dict[str, str]:
    """Returns the checksums of the files of an intact checkpoint of these variables.

    They are {} where the checkpoint is missing, damaged, or of other values.
    """
    try:
        state = checked_state(checkpoint)
    except ValueError:
        return {}
    return state["files"] if state.get("variables") == variables else {}


def _state_text(state: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    return json.dumps(sealed({**state, "files": digests}), indent=2)


def restore_checkpoint(
    checkpoint: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> dict:
    """Loads a checkpoint into a built model and optimiser and returns its state.

    Raises:
        UserError: when a file is damaged or belongs to another model or optimiser;
            `CannotRead` when the system cannot read it.
    """
    variables = optimizer_state(optimizer)
    try:
        state = checkpoint_state(checkpoint)
        load_weights(model, checkpoint / WEIGHTS_FILE)
        file = checkpoint / OPTIMIZER_FILE
        with reading(file), np.load(file) as arrays:
            values = dict(arrays)
        if set(values) == {f"arr_{index}" for index in range(len(variables))}:
            # Older versions wrote the variables without names.
            values = {name: values[f"arr_{i}"] for i, name in enumerate(variables)}
        is_ours = values.keys() == variables.keys()
        for name, variable in variables.items() if is_ours else ():
            variable.assign(values[name])
    except CannotRead:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"Cannot resume from {checkpoint}: {first_line(error)}. Delete this "
            "folder to resume from the checkpoint before it."
        ) from error
    if not is_ours:
        setting = quoted(f"train.init_from={checkpoint / WEIGHTS_FILE}")
        raise UserError(
            f"Cannot resume from {checkpoint}: another optimiser has written it, or "
            "the same one with another version of Keras. To start a new run with its "
            f"weights: --set {setting}"
        )
    return state


def save_best(run: Path, model: keras.Model, metrics: dict) -> None:
    """Replaces the best weights of the run, unless they are better, and their metrics.

    The files decide, because a run that resumes from an old checkpoint has forgotten
    later evaluations. The weights hold their mIoU, and the metrics of other weights
    are gone before they come: a kill in between never pairs the two.
    """
    if best_miou(run) > metrics["mIoU"]:
        return
    path = run / BEST_METRICS
    old_metrics = partial_path(path)
    if path.exists():
        os.replace(path, old_metrics)
    try:
        save_weights(model, run / BEST_WEIGHTS, metrics["mIoU"])
    except BaseException:
        if old_metrics.exists():
            os.replace(old_metrics, path)
        raise
    write_text(path, json.dumps(metrics, indent=2))
