"""A model's weights by name, weights files, and where a run folder keeps them."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gcnet_tf.errors import UserError, first_line

if TYPE_CHECKING:  # for the annotations alone: a run is listed without TensorFlow
    import keras

SUFFIX = ".weights.h5"
WEIGHTS_FILE = "model" + SUFFIX
BEST_WEIGHTS = "best" + SUFFIX


def list_checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folders = (run / "checkpoints").glob("[0-9]*")
    return sorted(path for path in folders if path.name.isdigit())


def newest_checkpoint(run: Path) -> Path | None:
    """The last complete checkpoint of a run; None if there is none."""
    return next(reversed(list_checkpoints(run)), None)


def weights_of_run(run: Path) -> Path:
    """The best weights if there was an evaluation, else those of the last checkpoint.

    Raises:
        UserError: when the run has saved nothing yet.
    """
    if (run / BEST_WEIGHTS).is_file():
        return run / BEST_WEIGHTS
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise UserError(f"The run {run} has no checkpoint yet.")
    return checkpoint / WEIGHTS_FILE


def load_weights(model: "keras.Model", path: Path) -> None:
    """Loads a `.weights.h5` file.

    Raises:
        UserError: when it is missing, damaged, or of another model.
    """
    if not path.is_file():
        raise UserError(f"No weights file at {path}.")
    if not path.name.endswith(SUFFIX):
        raise UserError(f"Weights are files named *.weights.h5. Received: {path}")
    try:
        with warnings.catch_warnings():
            # Keras only warns of some layers that a file lacks, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise UserError(
            f"The weights in {path} do not fit the model of this configuration "
            f"(depth, channels and number of classes must agree): {first_line(error)}"
        ) from error


def weights_by_path(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """Every weight by its path, such as "backbone/stem1/conv/kernel"."""
    return {weight.path.split("/", 1)[1]: weight for weight in model.weights}


def weight_shapes(model: "keras.Model") -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its path."""
    return {path: tuple(w.shape) for path, w in weights_by_path(model).items()}


def assign_weights(model: "keras.Model", values: Mapping[str, np.ndarray]) -> None:
    """Gives the weights named in `values` their values; the others stay."""
    weights = weights_by_path(model)
    for path, value in values.items():
        weights[path].assign(value)


def check_weights_path(path: Path) -> None:
    """Checks that weights can be written there, before the work that leads to them.

    Raises:
        UserError: for another suffix, or a folder that cannot be made.
    """
    if not path.name.endswith(SUFFIX):
        raise UserError(f"Weights are files named *{SUFFIX}. Received: {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {path.parent}: {error}") from error


def save_weights(model: "keras.Model", path: Path) -> None:
    """Writes a `.weights.h5` file, complete or not at all."""
    partial = path.with_name("partial-" + path.name)
    model.save_weights(partial)
    os.replace(partial, path)
