"""ONNX files in ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.runtime.backends.common import (
    as_input,
    interpreter,
    num_cores,
    unreadable,
)
from gcnet_tf.runtime.manifest import ExportManifest, TensorInfo
from gcnet_tf.runtime.tensors import Tensor, check_tensors


class ONNX:
    """An ONNX file, run by ONNX Runtime on the processor; threads run side by side."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        onnxruntime = interpreter("onnxruntime", "onnxruntime", model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or num_cores()
        options.log_severity_level = 3  # errors; they reach the user as exceptions
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        # The exceptions of ONNX Runtime have no other base class in common.
        except Exception as error:
            raise unreadable(model, error) from error
        self._manifest = manifest
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_tensors(model, manifest, _onnx(inputs), _onnx(outputs))
        self._kinds = {info.name: kind for kind, info in manifest.outputs.items()}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {self._manifest.input.name: as_input(images, self._manifest)}
        outputs = self._session.run(list(self._kinds), inputs)
        return {
            kind: _channels_last(output, self._manifest.outputs[kind])
            for kind, output in zip(self._kinds.values(), outputs)
        }


def _channels_last(output: np.ndarray, info: TensorInfo) -> np.ndarray:
    return output.transpose(0, 2, 3, 1) if info.layout == "nchw" else output


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
