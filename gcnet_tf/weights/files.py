"""A model's weights by name, weights files, and where a run folder keeps them.

A weights file ends with a checksum of itself, and a checkpoint's state.json holds those
of the files beside it: what a disk has changed is noticed and never used.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import new_file, require_space
from gcnet_tf.files.checksum import append_checksum, check_file, file_sha256, unsealed

# TensorFlow, and `compat` with it, where it is needed: a run is listed without it.
if TYPE_CHECKING:
    import keras

SUFFIX = ".weights.h5"
WEIGHTS_FILE = "model" + SUFFIX
BEST_WEIGHTS = "best" + SUFFIX
STATE_FILE = "state.json"
# More than a weights file needs for the groups and the names of a weight, bytes.
_OVERHEAD = 2**13


def list_checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folders = (run / "checkpoints").glob("[0-9]*")
    return sorted(path for path in folders if path.name.isdigit())


def newest_checkpoint(run: Path) -> Path | None:
    """The last intact checkpoint of a run; None if it has none at all.

    Damaged ones are warned of and passed over.

    Raises:
        UserError: when all of them are damaged.
    """
    checkpoints = list_checkpoints(run)
    for checkpoint in reversed(checkpoints):
        try:
            checkpoint_state(checkpoint)
        except ValueError as error:
            warnings.warn(f"Passing over a checkpoint: {error}.", stacklevel=2)
        else:
            return checkpoint
    if checkpoints:
        raise UserError(
            f"Every checkpoint in {run / 'checkpoints'} is damaged. Put a copy back "
            "there, or start anew with another --out."
        )
    return None


def checkpoint_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a training in a checkpoint, all of whose files are checked.

    Raises:
        ValueError: naming the file that is damaged.
    """
    file = checkpoint / STATE_FILE
    try:
        state = unsealed(json.loads(file.read_text()))
        # Older versions wrote neither these nor the checksum of the state itself.
        for name, digest in state.pop("files", {}).items():
            file = checkpoint / name
            if file_sha256(file) != digest:
                raise ValueError("its content does not match its checksum")
        state["iteration"] + 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged: {first_line(error)}") from error
    return state


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
        check_file(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {first_line(error)}. Put a copy in its place."
        ) from error
    from gcnet_tf import compat

    try:
        with warnings.catch_warnings():
            # Keras only warns of some layers that a file lacks, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            compat.load_weights(model, path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise UserError(
            f"The weights in {path} do not fit the model of this configuration "
            f"(depth, channels and number of classes must agree): {first_line(error)}"
        ) from error


def weights_by_path(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """Every weight by its path, such as "backbone/stem1/conv/kernel"."""
    from gcnet_tf import compat

    return compat.weights_by_path(model)


def weights_hash(model: "keras.Model") -> str:
    """SHA-256, in hex, of the names and values of all weights."""
    digest = hashlib.sha256()
    for path, weight in sorted(weights_by_path(model).items()):
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{path}\0{value.dtype}{value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


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
    from gcnet_tf import compat

    sizes = [w.numpy().nbytes for w in model.weights]
    with new_file(path) as partial:
        # HDF5 ends the process, by a segmentation fault, where a disk is full.
        require_space(partial, sum(sizes) + _OVERHEAD * len(sizes))
        compat.save_weights(model, partial)
        append_checksum(partial)
