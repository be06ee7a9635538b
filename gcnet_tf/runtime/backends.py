"""One class for each format of file: opens it, checks it, runs it.

Each imports its interpreter when it is made, and not before.
"""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.runtime.manifest import ExportManifest
from gcnet_tf.runtime.tensors import Tensor, check_tensors

# By suffix: the format, as manifests call it. A SavedModel is a folder.
SUFFIXES = {".tflite": "tflite", ".onnx": "onnx"}
SAVED_MODEL = "saved_model"


class Backend(Protocol):
    """An opened file."""

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """RGB uint8 `(batch, height, width, 3)` to the file's outputs by kind."""


def format_of(model: Path) -> str | None:
    """What the place of an exported model says its format is; None where it is none."""
    if (model / "saved_model.pb").is_file():
        return SAVED_MODEL
    return SUFFIXES.get(model.suffix) if model.is_file() else None


def open_backend(
    model: Path, manifest: ExportManifest, threads: int | None = None
) -> Backend:
    """Opens an exported model with the interpreter of its format.

    Args:
        model: the file, or the folder of a SavedModel.
        manifest: its own.
        threads: how many to use; None for all cores.

    Raises:
        UserError: when the interpreter is not installed or refuses the file, or the
            file is not what the manifest says.
    """
    backends: dict[str, Callable[..., Backend]]
    backends = {SAVED_MODEL: SavedModel, "tflite": TFLite, "onnx": ONNX}
    file_format = format_of(model)
    if file_format is None or file_format != manifest.format:
        raise UserError(
            f"{model} is not the {manifest.format} model that its manifest tells of. "
            "Copy both again from the same export."
        )
    return backends[file_format](model, manifest, threads)


class TFLite:
    """By LiteRT, with its XNNPACK kernels. Not for several threads at once."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        litert = _interpreter("ai_edge_litert.interpreter", "ai-edge-litert", model)
        try:
            self._interpreter = litert.Interpreter(
                str(model), num_threads=threads or _num_cores()
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _unreadable(model, error) from error
        self._manifest = manifest
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        check_tensors(model, manifest, _tflite(inputs), _tflite(outputs))
        self._input = inputs[0]
        self._index = {tensor["name"]: tensor["index"] for tensor in outputs}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        scale, zero_point = self._input["quantization"]
        if scale and (scale, zero_point) != (1, 0):
            quantised = np.rint(images / np.float32(scale)) + zero_point
            images = quantised.clip(0, 255).astype(np.uint8)
        self._interpreter.set_tensor(
            self._input["index"], _as_input(images, self._manifest)
        )
        self._interpreter.invoke()
        return {
            kind: self._interpreter.get_tensor(self._index[info.name])
            for kind, info in self._manifest.outputs.items()
        }


class ONNX:
    """By ONNX Runtime, on the processor."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        onnxruntime = _interpreter("onnxruntime", "onnxruntime", model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _num_cores()
        options.log_severity_level = 3  # errors; they reach the user as exceptions
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # Its exceptions have no common base but this one.
        except Exception as error:
            raise _unreadable(model, error) from error
        self._manifest = manifest
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_tensors(model, manifest, _onnx(inputs), _onnx(outputs))
        self._kinds = {info.name: kind for kind, info in manifest.outputs.items()}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {self._manifest.input.name: _as_input(images, self._manifest)}
        found = self._session.run(list(self._kinds), inputs)
        return dict(zip(self._kinds.values(), found))


class SavedModel:
    """By TensorFlow, through the signature "serving_default"."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        self._tf = _interpreter("tensorflow", "tensorflow", model)
        if threads is not None:
            self._limit(threads)
        try:
            # The signature lives as long as the object that it comes from.
            self._loaded = self._tf.saved_model.load(str(model))
            self._serve = self._loaded.signatures["serving_default"]
        # Whatever a damaged graph leads TensorFlow to.
        except Exception as error:
            raise _unreadable(model, error) from error
        self._manifest = manifest
        (_, inputs), outputs = (
            self._serve.structured_input_signature,
            self._serve.structured_outputs,
        )
        check_tensors(model, manifest, _tensorflow(inputs), _tensorflow(outputs))

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        tensor = self._tf.constant(_as_input(images, self._manifest))
        found = self._serve(**{self._manifest.input.name: tensor})
        return {
            kind: found[info.name].numpy()
            for kind, info in self._manifest.outputs.items()
        }

    def _limit(self, threads: int) -> None:
        threading = self._tf.config.threading
        if threading.get_intra_op_parallelism_threads() == threads:
            return
        try:
            threading.set_intra_op_parallelism_threads(threads)
            # Branches one after the other, each by all threads: side by side they take
            # the caches from one another, 4 % of the time of cpu-fp32 on two cores.
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise UserError(
                f"threads: received {threads}; TensorFlow has started in this process "
                "and keeps the number it has. Open the model before anything else "
                "uses TensorFlow, or leave out threads."
            ) from error


def _num_cores() -> int:
    # As `processor.num_cores`: the runtime imports nothing of the package but errors.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _interpreter(module: str, package: str, model: Path) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"{model} needs the package {package}, which is not installed or cannot be "
            f"imported ({first_line(error)}): pip install {package}"
        ) from error


def _unreadable(model: Path, error: Exception) -> UserError:
    return UserError(
        f"Cannot open {model}: {first_line(error)}. The file may be damaged; export "
        "the model again with scripts/export.py."
    )


def _as_input(images: np.ndarray, manifest: ExportManifest) -> np.ndarray:
    if manifest.input.layout == "nchw":
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images, manifest.input.dtype)


def _tflite(details: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {
        tensor["name"]: Tensor(
            np.dtype(tensor["dtype"]).name,
            tuple(
                None if side < 0 else int(side) for side in tensor["shape_signature"]
            ),
        )
        for tensor in details
    }


def _onnx(arguments: list[Any]) -> dict[str, Tensor]:
    # As in "tensor(float)"; a side is a number, a name, or None.
    names = {"float": "float32", "double": "float64"}
    types = {each.name: each.type.removeprefix("tensor(")[:-1] for each in arguments}
    return {
        each.name: Tensor(
            names.get(types[each.name], types[each.name]),
            tuple(side if isinstance(side, int) else None for side in each.shape),
        )
        for each in arguments
    }


def _tensorflow(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: Tensor(
            tensor.dtype.name,
            () if tensor.shape.rank is None else tuple(tensor.shape),
        )
        for name, tensor in tensors.items()
    }
