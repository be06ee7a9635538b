"""A model's weights by name, weights files, and the weights in a run folder.

A weights file ends with its own checksum, and a checkpoint's state.json holds the
checksums of the files beside it. So data that a disk has changed is never used.
"""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import PARTIAL, new_file, require_space
from gcnet_tf.files.checksum import append_checksum, check_file, file_sha256, unsealed
from gcnet_tf.files.reading import CannotRead, reading
from gcnet_tf.files.results import require_place
from gcnet_tf.weights.hdf5_file import check_hdf5

# Functions import TensorFlow, and `compat` with it, only when they need it: the list of
# checkpoints does not.
if TYPE_CHECKING:
    import keras

SUFFIX = ".weights.h5"
WEIGHTS_FILE = "model" + SUFFIX
BEST_WEIGHTS = "best" + SUFFIX
BEST_METRICS = "best.json"
STATE_FILE = "state.json"
_MIOU = "mIoU"
# HDF5 reads this variable once, when h5py is imported.
LOCKING = "HDF5_USE_FILE_LOCKING"
# What a file that training has not written may raise.
_UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(RecursionError, OverflowError, RuntimeError),
)
# Bytes per weight for groups and names in a weights file, more than it needs.
_OVERHEAD = 2**13


def list_checkpoints(run: Path) -> list[Path]:
    """Lists the complete checkpoints of a run, oldest first."""
    folders = (run / "checkpoints").glob("[0-9]*")
    return sorted(path for path in folders if path.name.isdigit())


def newest_checkpoint(run: Path) -> Path | None:
    """Returns the last intact checkpoint of a run; None if there is no checkpoint.

    Damaged checkpoints are skipped with a warning.

    Raises:
        UserError: when all checkpoints are damaged, or one cannot be read: a training
            that went on from an older one would replace it.
    """
    checkpoints = list_checkpoints(run)
    for checkpoint in reversed(checkpoints):
        try:
            checkpoint_state(checkpoint)
        except CannotRead:
            raise
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
    """Checks all files of a checkpoint, and returns the state of the training.

    Raises:
        CannotRead: when the system cannot read a file.
        ValueError: when a file is missing or damaged; the message names it.
    """
    state = checked_state(checkpoint)
    for key in ("files", "variables"):  # concern the writer alone
        state.pop(key, None)
    return state


def checked_state(checkpoint: Path) -> dict[str, Any]:
    """Checks all files of a checkpoint, and returns its state as it was written.

    Raises:
        CannotRead, ValueError: see `checkpoint_state`.
    """
    file = checkpoint / STATE_FILE
    try:
        with reading(file):
            state = unsealed(json.loads(file.read_text(encoding="utf-8")))
        # Older versions wrote neither these checksums nor that of the state itself.
        for name, digest in state.get("files", {}).items():
            # No other file is read: a device would never end.
            if Path(name).name != name:
                raise ValueError(f"it lists the file {name[:100]!r}")
            file = checkpoint / name
            with reading(file):
                actual = file_sha256(file)
            if actual != digest:
                raise ValueError("its content does not match its checksum")
        state["iteration"] + 0
    except CannotRead as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ValueError(f"{file} is missing") from error
    except _UNREADABLE as error:
        raise ValueError(f"{file} is damaged: {first_line(error)}") from error
    return state


def weights_of_run(run: Path) -> Path:
    """Returns the file of the best weights, or else that of the last checkpoint.

    Raises:
        UserError: when the run has saved no checkpoint yet.
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
        UserError: when it is missing, damaged, or of another model; `CannotRead` when
            the system cannot read it.
    """
    if not path.is_file():
        raise UserError(f"No weights file at {path}.")
    if not path.name.endswith(SUFFIX):
        raise UserError(f"Weights are files named *.weights.h5. Received: {path}")
    from gcnet_tf import compat

    try:
        with reading(path):
            check_file(path)
            check_hdf5(path, path.stat().st_size)
    except CannotRead:
        raise
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    try:
        with reading(path), warnings.catch_warnings():
            # Keras only warns about some layers that a file lacks; they stay random.
            warnings.simplefilter("error", UserWarning)
            compat.load_weights(model, path)
    except CannotRead:
        raise
    except OSError as error:
        raise _damaged(path, error) from error
    # A damaged file can lead HDF5 and Keras to any exception.
    except Exception as error:
        raise UserError(
            f"The weights in {path} do not fit the model of this configuration "
            f"(depth, channels and number of classes must agree): {first_line(error)}"
        ) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged: {first_line(error)}. Put a copy in its place."
    )


def weights_by_path(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """Returns the weights by their path, such as "backbone/stem1/conv/kernel"."""
    from gcnet_tf import compat

    return compat.weights_by_path(model)


def weights_hash(model: "keras.Model") -> str:
    """Returns the hex SHA-256 of the names and values of all weights."""
    return values_hash({p: w.numpy() for p, w in weights_by_path(model).items()})


def values_hash(values: Mapping[str, np.ndarray]) -> str:
    """Returns the hex SHA-256 of the values of weights, and of their paths."""
    digest = hashlib.sha256()
    for path, value in sorted(values.items()):
        digest.update(f"{path}\0{value.dtype}{value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def weight_shapes(model: "keras.Model") -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights by their path."""
    return {path: tuple(w.shape) for path, w in weights_by_path(model).items()}


def assign_weights(model: "keras.Model", values: Mapping[str, np.ndarray]) -> None:
    """Assigns `values` to the weights with these paths; other weights are unchanged."""
    weights = weights_by_path(model)
    for path, value in values.items():
        weights[path].assign(value)


def check_weights_path(path: Path) -> None:
    """Checks, before any long work, that weights can be written to a path.

    Raises:
        UserError: when the suffix is wrong, or the file cannot be written.
    """
    if not path.name.endswith(SUFFIX):
        raise UserError(f"Weights are files named *{SUFFIX}. Received: {path}")
    require_place(path)
    require_hdf5(path.absolute().parent)


def require_hdf5(folder: Path) -> None:
    """Checks, before any long work, that weights files can be written in a folder.

    `gcnet_tf` switches HDF5's file locks off, because some disks have none. But the
    variable for it counts only when h5py is imported later, and users may set it.

    Args:
        folder: the folder; it may be missing, then the one above it is tried.

    Raises:
        UserError: when HDF5 cannot write there.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=there) as trial:
            with h5py.File(Path(trial) / WEIGHTS_FILE, "w") as file:
                file["trial"] = 0
    except OSError as error:
        raise UserError(
            f"Cannot write weights files in {there}: {first_line(error)}. If the disk "
            "has no file locks, start Python with the variable "
            f"{LOCKING}=FALSE; else check the permissions and the free space there."
        ) from error


def best_miou(run: Path) -> float:
    """Reads the mIoU of the best weights of a run; -1 where there are none intact.

    Raises:
        CannotRead: when the system cannot read them: they may be the best.
    """
    path = run / BEST_WEIGHTS
    if not path.exists():
        return -1.0
    try:
        with reading(path):
            check_file(path)
            with h5py.File(path) as file:
                miou = file.attrs.get(_MIOU)
        if miou is None:  # of an older version
            miou = json.loads((run / BEST_METRICS).read_text(encoding="utf-8"))["mIoU"]
        return float(miou)
    except CannotRead:
        raise
    except _UNREADABLE:
        return -1.0


def save_weights(model: "keras.Model", path: Path, miou: float | None = None) -> None:
    """Writes a `.weights.h5` file, whole or not at all, with their mIoU if known."""
    from gcnet_tf import compat

    sizes = [w.numpy().nbytes for w in model.weights]
    with new_file(path) as partial:
        # On a full disk, HDF5 ends the process with a segmentation fault.
        require_space(partial, sum(sizes) + _OVERHEAD * len(sizes))
        compat.save_weights(model, partial)
        if miou is not None:
            with h5py.File(partial, "r+") as file:
                file.attrs[_MIOU] = miou
        append_checksum(partial)
