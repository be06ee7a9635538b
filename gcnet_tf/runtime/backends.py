"""Backends: one class for each file format, which opens, checks and runs a model.

Each imports its interpreter only when an object is made.
"""

import os
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.runtime.manifest import ExportManifest, TensorInfo
from gcnet_tf.runtime.tensors import Tensor, check_tensors

# Formats, as manifests call them, by the suffix of the file. A SavedModel is a folder.
SUFFIXES = {".tflite": "tflite", ".onnx": "onnx"}
SAVED_MODEL = "saved_model"
# A SavedModel's signature for the network alone. Up to version 0.2 there was only the
# one that servers call by default, and it was the network.
NETWORK_SIGNATURE, _OLD_SIGNATURE = "network", "serving_default"


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


class TFLite:
    """A TFLite file, run by LiteRT with XNNPACK; threads take turns."""

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
        # The interpreter has one set of tensors: of two threads in it, one gets an
        # error, or the labels of the other's image.
        self._turn = threading.Lock()
        self._index = {tensor["name"]: tensor["index"] for tensor in outputs}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        scale, zero_point = self._input["quantization"]
        if scale and (scale, zero_point) != (1, 0):
            quantised = np.rint(images / np.float32(scale)) + zero_point
            images = quantised.clip(0, 255).astype(np.uint8)
        inputs = _as_input(images, self._manifest)
        with self._turn:
            self._interpreter.set_tensor(self._input["index"], inputs)
            self._interpreter.invoke()
            return {
                kind: self._interpreter.get_tensor(self._index[info.name])
                for kind, info in self._manifest.outputs.items()
            }


class ONNX:
    """An ONNX file, run by ONNX Runtime on the processor; threads run side by side."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        onnxruntime = _interpreter("onnxruntime", "onnxruntime", model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _num_cores()
        options.log_severity_level = 3  # errors; they reach the user as exceptions
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # The exceptions of ONNX Runtime have no other base class in common.
        except Exception as error:
            raise _unreadable(model, error) from error
        self._manifest = manifest
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_tensors(model, manifest, _onnx(inputs), _onnx(outputs))
        self._kinds = {info.name: kind for kind, info in manifest.outputs.items()}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {self._manifest.input.name: _as_input(images, self._manifest)}
        outputs = self._session.run(list(self._kinds), inputs)
        return {
            kind: _channels_last(output, self._manifest.outputs[kind])
            for kind, output in zip(self._kinds.values(), outputs)
        }


class SavedModel:
    """A SavedModel, run by TensorFlow through the signature "network".

    Threads run side by side.
    """

    # The process in which TensorFlow was started by this class.
    _process: int | None = None

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        self._require_own_process(model)
        self._tf = _interpreter("tensorflow", "tensorflow", model)
        SavedModel._process = os.getpid()
        if threads is not None:
            self._limit(threads)
        try:
            # The signature is valid only while the object it comes from exists.
            self._loaded = self._tf.saved_model.load(str(model))
            signatures = self._loaded.signatures
            has_network = NETWORK_SIGNATURE in signatures
            name = NETWORK_SIGNATURE if has_network else _OLD_SIGNATURE
            self._serve = signatures[name]
        # A damaged graph may lead TensorFlow to any exception.
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
        outputs = self._serve(**{self._manifest.input.name: tensor})
        return {
            kind: outputs[info.name].numpy()
            for kind, info in self._manifest.outputs.items()
        }

    @classmethod
    def _require_own_process(cls, model: Path) -> None:
        """Refuses a fork of a process that has used TensorFlow: it would wait forever.

        The fork lacks the threads that TensorFlow gives the work to.
        """
        if cls._process not in (None, os.getpid()):
            raise UserError(
                f"{model} cannot be opened in process {os.getpid()}, a fork of process "
                f"{cls._process}, which has used TensorFlow: it would never answer. "
                'Start processes by "spawn" or "forkserver", fork before the first '
                "SavedModel is opened, or use the .onnx file."
            )

    def _limit(self, threads: int) -> None:
        threading = self._tf.config.threading
        if threading.get_intra_op_parallelism_threads() == threads:
            return
        try:
            threading.set_intra_op_parallelism_threads(threads)
            # Branches of the graph run one after the other, each on all threads. Side
            # by side they compete for the caches: 4 % of cpu-fp32's time on two cores.
            threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise UserError(
                f"threads: received {threads}; TensorFlow has started in this process "
                "and keeps the number it has. Open the model before anything else "
                "uses TensorFlow, or leave out threads."
            ) from error


def _num_cores() -> int:
    # A copy of `processor.num_cores`: of the other parts of the package, the runtime
    # imports only `errors`.
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


def _channels_last(output: np.ndarray, info: TensorInfo) -> np.ndarray:
    return output.transpose(0, 2, 3, 1) if info.layout == "nchw" else output


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
    # Types look like "tensor(float)"; a side is a number, a name, or None.
    names = {"float": "float32", "double": "float64"}
    types = {
        argument.name: argument.type.removeprefix("tensor(")[:-1]
        for argument in arguments
    }
    return {
        argument.name: Tensor(
            names.get(types[argument.name], types[argument.name]),
            tuple(side if isinstance(side, int) else None for side in argument.shape),
        )
        for argument in arguments
    }


def _tensorflow(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: Tensor(
            tensor.dtype.name,
            () if tensor.shape.rank is None else tuple(tensor.shape),
        )
        for name, tensor in tensors.items()
    }
