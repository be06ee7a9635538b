"""SavedModels in TensorFlow."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.backends.common import as_input, interpreter, unreadable
from gcnet_tf.runtime.backends.operations import check_operations
from gcnet_tf.runtime.manifest import ExportManifest
from gcnet_tf.runtime.tensors import Tensor, check_tensors

# A SavedModel's signature for the network alone. Up to version 0.2 there was only the
# one that servers call by default, and it was the network.
NETWORK_SIGNATURE, _OLD_SIGNATURE = "network", "serving_default"


class SavedModel:
    """A SavedModel, run by TensorFlow through the signature "network".

    Threads run side by side.
    """

    # The process in which TensorFlow was started by this class.
    _process: int | None = None

    def __init__(self, model: Path, manifest: ExportManifest, threads: int | None):
        self._require_own_process(model)
        self._tf = interpreter("tensorflow", "tensorflow", model)
        SavedModel._process = os.getpid()
        if threads is not None:
            self._limit(threads)
        check_operations(model)
        try:
            # The signature is valid only while the object it comes from exists.
            self._loaded = self._tf.saved_model.load(str(model))
            signatures = self._loaded.signatures
            has_network = NETWORK_SIGNATURE in signatures
            name = NETWORK_SIGNATURE if has_network else _OLD_SIGNATURE
            self._serve = signatures[name]
        # A damaged graph may lead TensorFlow to any exception.
        except Exception as error:
            raise unreadable(model, error) from error
        self._manifest = manifest
        (_, inputs), outputs = (
            self._serve.structured_input_signature,
            self._serve.structured_outputs,
        )
        check_tensors(model, manifest, _tensorflow(inputs), _tensorflow(outputs))

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        tensor = self._tf.constant(as_input(images, self._manifest))
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
            # Winograd's products run side by side: one after the other, cpu-fp32 takes
            # 1.04 times as long on two cores.
            threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise UserError(
                f"threads: received {threads}; TensorFlow has started in this process "
                "and keeps the number it has. Open the model before anything else "
                "uses TensorFlow, or leave out threads."
            ) from error


def _tensorflow(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: Tensor(
            tensor.dtype.name,
            () if tensor.shape.rank is None else tuple(tensor.shape),
        )
        for name, tensor in tensors.items()
    }
