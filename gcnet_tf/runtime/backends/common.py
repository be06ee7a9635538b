"""The parts that all backends share."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.runtime.manifest import ExportManifest


def num_cores() -> int:
    """Counts the cores that this process may use."""
    # A copy of `processor.num_cores`: of the other parts of the package, the runtime
    # imports only `errors`.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interpreter(module: str, package: str, model: Path) -> Any:
    """Imports an interpreter, or says what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"{model} needs the package {package}, which is not installed or cannot be "
            f"imported ({first_line(error)}): pip install {package}"
        ) from error


def unreadable(model: Path, error: Exception) -> UserError:
    """Makes the sentence about a file that an interpreter refuses."""
    return UserError(
        f"Cannot open {model}: {first_line(error)}. The file may be damaged; export "
        "the model again with scripts/export.py."
    )


def as_input(images: np.ndarray, manifest: ExportManifest) -> np.ndarray:
    """Gives images the layout and the type of a model's input."""
    if manifest.input.layout == "nchw":
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images, manifest.input.dtype)
