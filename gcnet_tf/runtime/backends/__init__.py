"""Backends: one class for each file format, which opens, checks and runs a model.

Each imports its interpreter only when an object is made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.backends.onnx import ONNX
from gcnet_tf.runtime.backends.saved_model import SavedModel
from gcnet_tf.runtime.backends.tflite import TFLite
from gcnet_tf.runtime.manifest import ExportManifest

# Formats, as manifests call them, by the suffix of the file. A SavedModel is a folder.
SUFFIXES = {".tflite": "tflite", ".onnx": "onnx"}
SAVED_MODEL = "saved_model"


class Backend(Protocol):
    """An opened model file, for any number of threads of the process that opened it."""

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Computes outputs, by kind, of RGB uint8 `(batch, height, width, 3)`.

        Values per class are `(batch, height, width, num_classes)` in every layout.
        """


def format_of(model: Path) -> str | None:
    """Tells the format of an exported model; None where the path holds no model."""
    if (model / "saved_model.pb").is_file():
        return SAVED_MODEL
    return SUFFIXES.get(model.suffix) if model.is_file() else None


def open_backend(
    model: Path, manifest: ExportManifest, threads: int | None = None
) -> Backend:
    """Opens an exported model with the interpreter of its format.

    Args:
        model: the file, or the folder of a SavedModel.
        manifest: the manifest of this model.
        threads: number of threads; None for one per core.

    Raises:
        UserError: when the interpreter is not installed or refuses the file, or the
            file is not what the manifest says.
    """
    backends: dict[str, Callable[..., Backend]]
    backends = {SAVED_MODEL: SavedModel, "tflite": TFLite, "onnx": ONNX}
    file_format = format_of(model)
    if file_format is None or file_format != manifest.format:
        raise UserError(
            f"{model} is not the {manifest.format} model that its manifest describes. "
            "Copy both again from the same export."
        )
    return backends[file_format](model, manifest, threads)
