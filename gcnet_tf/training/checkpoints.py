"""Checkpoints: what training needs to go on as if it had never stopped.

A checkpoint is a folder `checkpoints/00000400/` with `model.weights.h5` (loadable by
anything that takes weights), `optimizer.npz` and `state.json`. It is written under
another name and renamed when complete, so a killed run leaves no half checkpoint.
"""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.weights import (
    BEST_WEIGHTS,
    WEIGHTS_FILE,
    list_checkpoints,
    load_weights,
    save_weights,
)


def save_checkpoint(
    run: Path,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    state: dict,
    keep: int,
) -> Path:
    """Writes a checkpoint and removes all but the newest `keep`.

    Args:
        run: the run folder.
        model: model whose weights are saved.
        optimizer: its built optimiser.
        state: JSON-able; `state["iteration"]` names the checkpoint.
        keep: number of checkpoints that stay.
    """
    final = run / "checkpoints" / f"{state['iteration']:08d}"
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_weights(partial / WEIGHTS_FILE)
    np.savez(partial / "optimizer.npz", *[v.numpy() for v in optimizer.variables])
    (partial / "state.json").write_text(json.dumps(state, indent=2))
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    for old in list_checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return final


def restore_checkpoint(
    checkpoint: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> dict:
    """Loads a checkpoint into a built model and optimiser and returns its state.

    Raises:
        UserError: when a file is damaged or belongs to another model.
    """
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        load_weights(model, checkpoint / WEIGHTS_FILE)
        with np.load(checkpoint / "optimizer.npz") as arrays:
            values = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        if len(values) != len(optimizer.variables):
            raise ValueError(f"{len(values)} optimiser variables")
        for variable, value in zip(optimizer.variables, values):
            variable.assign(value)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"Cannot resume from {checkpoint}: {first_line(error)}. Delete this "
            "folder to resume from the checkpoint before it."
        ) from error
    return state


def save_best(run: Path, model: keras.Model, scores: dict) -> None:
    """Replaces the best weights of the run and the scores beside them."""
    save_weights(model, run / BEST_WEIGHTS)
    (run / "best.json").write_text(json.dumps(scores, indent=2))
