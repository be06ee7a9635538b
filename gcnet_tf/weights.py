"""Weights files, and where a run folder keeps them."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from gcnet_tf.errors import UserError, first_line

if TYPE_CHECKING:  # for the annotation alone: a run is listed without TensorFlow
    import keras

WEIGHTS_FILE = "model.weights.h5"
BEST_WEIGHTS = "best.weights.h5"


def list_checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folders = (run / "checkpoints").glob("[0-9]*")
    return sorted(path for path in folders if path.name.isdigit())


def weights_of_run(run: Path) -> Path:
    """The best weights if there was an evaluation, else those of the last checkpoint.

    Raises:
        UserError: when the run has saved nothing yet.
    """
    if (run / BEST_WEIGHTS).is_file():
        return run / BEST_WEIGHTS
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        raise UserError(f"The run {run} has no checkpoint yet.")
    return checkpoints[-1] / WEIGHTS_FILE


def load_weights(model: "keras.Model", path: Path) -> None:
    """Loads a `.weights.h5` file.

    Raises:
        UserError: when it is missing, damaged, or of another model.
    """
    if not path.is_file():
        raise UserError(f"No weights file at {path}.")
    if not path.name.endswith(".weights.h5"):
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
