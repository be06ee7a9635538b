"""The exported files of a model: size, speed here, and the accuracy that they kept."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.report.run_log import number_or_none
from gcnet_tf.runtime import open_network
from gcnet_tf.runtime.backends import format_of
from gcnet_tf.runtime.manifest import ExportManifest, megabytes, read_manifest

# A file runs until both are reached, or the second alone where it is slow.
_RUNS, _SECONDS = 7, 1.5


@dataclass(frozen=True)
class ExportedFile:
    """An exported file.

    Attributes:
        name: its name.
        format, precision: those of its manifest; "" where it cannot be read.
        megabytes: its size.
        size: (height, width) of the images that were timed.
        milliseconds: median time of the network for one of them; None when not timed.
        agreement, miou, drop, drop_error: see `export.accuracy.limits.Accuracy`; None
            where they were not measured.
        problem: why it could not be run; "" when it could.
        is_of_model: whether it holds the weights of this page's model.
    """

    name: str
    format: str = ""
    precision: str = ""
    megabytes: float = 0.0
    size: tuple[int, int] | None = None
    milliseconds: float | None = None
    agreement: float | None = None
    miou: float | None = None
    drop: float | None = None
    drop_error: float | None = None
    problem: str = ""
    is_of_model: bool = True


def exported_files(
    folder: Path, size: tuple[int, int], weights: str
) -> list[ExportedFile]:
    """Runs every exported file of a folder.

    Args:
        folder: the folder of an export.
        size: (height, width) of the images for files that take any.
        weights: hash of the model's weights, see `ExportManifest.weights_sha256`.

    Raises:
        UserError: when the folder does not exist, or holds no exported file.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [_examined(path, size, weights) for path in paths if format_of(path)]
    if not files:
        raise UserError(
            f"--exports: there is no exported file in {folder}; name the --out of "
            "scripts/export.py, or leave it out."
        )
    return files


def _examined(path: Path, size: tuple[int, int], weights: str) -> ExportedFile:
    try:
        manifest = read_manifest(path)
        input_size = manifest.size or size
        milliseconds = _milliseconds(path, input_size)
    # An interpreter may raise anything; the other files do not depend on this one.
    except Exception as error:
        return ExportedFile(
            path.name, megabytes=megabytes(path), problem=first_line(error)
        )
    return ExportedFile(
        name=path.name,
        format=manifest.format,
        precision=manifest.precision,
        megabytes=megabytes(path),
        size=input_size,
        milliseconds=milliseconds,
        is_of_model=manifest.weights_sha256 == weights,
        **_accuracy(manifest),
    )


def _accuracy(manifest: ExportManifest) -> dict[str, Any]:
    """Reads the numbers of the accuracy report, which a stranger may have written."""
    names = ("agreement", "miou", "keras_miou", "drop_error")
    values = {name: number_or_none(manifest.accuracy.get(name)) for name in names}
    reference, miou = values.pop("keras_miou"), values["miou"]
    drop = None if miou is None or reference is None else reference - miou
    return {**values, "drop": drop}


def _milliseconds(path: Path, size: tuple[int, int]) -> float:
    network, _ = open_network(path)
    run: Callable[[np.ndarray], np.ndarray] | None = network.labels or network.logits
    assert run is not None  # a network gives one of them
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    run(images)  # the first run makes what the others use
    times: list[float] = []
    while not times or (len(times) < _RUNS and sum(times) < _SECONDS):
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
