"""TFLite files in LiteRT."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.runtime.backends.common import (
    as_input,
    interpreter,
    num_cores,
    unreadable,
)
from gcnet_tf.runtime.manifest import ExportManifest
from gcnet_tf.runtime.tensors import Tensor, check_tensors


class TFLite:
    """A TFLite file, run by LiteRT with XNNPACK; threads take turns."""

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        litert = interpreter("ai_edge_litert.interpreter", "ai-edge-litert", model)
        try:
            self._interpreter = litert.Interpreter(
                str(model), num_threads=threads or num_cores()
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise unreadable(model, error) from error
        self._manifest = manifest
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        check_tensors(model, manifest, _tflite(inputs), _tflite(outputs))
        self._input = inputs[0]
        # The interpreter has one set of tensors: of two threads in it, one gets an
        # error, or the labels of the other's image.
        self._turn = threading.Lock()
        self._details = {tensor["name"]: tensor for tensor in outputs}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        scale, zero_point = self._input["quantization"]
        if scale and (scale, zero_point) != (1, 0):
            quantised = np.rint(images / np.float32(scale)) + zero_point
            images = quantised.clip(0, 255).astype(np.uint8)
        inputs = as_input(images, self._manifest)
        with self._turn:
            self._interpreter.set_tensor(self._input["index"], inputs)
            self._interpreter.invoke()
            return {
                kind: self._output(self._details[info.name])
                for kind, info in self._manifest.outputs.items()
            }

    def _output(self, details: dict[str, Any]) -> np.ndarray:
        """Returns a result, in float where it has a scale."""
        values = self._interpreter.get_tensor(details["index"])
        scale, zero_point = details["quantization"]
        if not scale:
            return values
        return (values.astype(np.float32) - zero_point) * np.float32(scale)


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
