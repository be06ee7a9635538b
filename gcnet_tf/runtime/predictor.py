"""Segmenting images of any size: an exported model, or any network with a protocol."""

import os
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from gcnet_tf.errors import UserError, require_utf8
from gcnet_tf.runtime.backends import Backend, format_of, open_backend
from gcnet_tf.runtime.manifest import (
    LABELS,
    PER_CLASS,
    PROBABILITIES,
    ExportManifest,
    read_manifest,
)
from gcnet_tf.runtime.predict import (
    Network,
    images_at_once,
    predict_labels,
    predict_labels_by_rows,
    predict_logits,
    predict_probabilities,
)
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.runtime.tensors import output_shape
from gcnet_tf.runtime.windows import RowsOf

Palette = tuple[tuple[int, int, int], ...]


class Predictor:
    """Segments images of any size.

    Any number of threads may share a predictor: each gets the answer to its own image.
    ONNX, SavedModel and Keras models compute the calls side by side. TFLite lets them
    take turns; for calls side by side, open the file once for each thread, with
    `threads=1`.

    A predictor belongs to the process that opened it, and refuses to work in a fork of
    it, which lacks the interpreter's threads: a used SavedModel would never answer.
    Open .onnx and .tflite files in each child; for SavedModels and Keras models, start
    the children by "spawn" or "forkserver".

    Attributes:
        network: computes logits or labels.
        protocol: how images become inputs of the network.
        classes: names in the order of their ids.
        palette: RGB per class.
    """

    network: Network
    protocol: Protocol
    classes: tuple[str, ...]
    palette: Palette

    def __init__(
        self,
        model: str | PathLike,
        *,
        threads: int | None = None,
        mode: str | None = None,
    ):
        """Opens a file that the command `export` wrote, with the manifest beside it.

        Args:
            model: a .tflite or .onnx file, or the folder of a SavedModel.
            threads: number of threads; None for one per core.
            mode: "whole", "slide", "ms_flip" or "tiled", see `Protocol`; None for the
                mode of the manifest.

        Raises:
            UserError: when the model cannot be opened, or is not what its manifest
                says.
        """
        path = Path(model)
        network, manifest = open_network(path, threads)
        protocol = protocol_of(path, manifest).with_mode(mode)
        self._set(network, protocol, manifest.classes, manifest.palette)

    @classmethod
    def of_network(
        cls,
        network: Network,
        protocol: Protocol,
        classes: tuple[str, ...],
        palette: Palette,
    ) -> "Predictor":
        """Makes a predictor from any network, such as a Keras model."""
        predictor = cls.__new__(cls)
        predictor._set(network, protocol, classes, palette)
        return predictor

    def _set(
        self,
        network: Network,
        protocol: Protocol,
        classes: tuple[str, ...],
        palette: Palette,
    ) -> None:
        self.network = network
        self.protocol = protocol
        self.classes = classes
        self.palette = palette
        self._process = os.getpid()

    def __call__(
        self, images: np.ndarray | Sequence[np.ndarray]
    ) -> np.ndarray | list[np.ndarray]:
        """Predicts the class of each pixel of images of any size.

        Args:
            images: RGB uint8 `(height, width, 3)`, or several of one size, `(batch,
                height, width, 3)`, or a list of images.

        Returns:
            Class ids uint8 `(height, width)`, or `(batch, height, width)`, or a list.

        Raises:
            UserError: when the images are of another form, or the network cannot
                process them.
        """
        if isinstance(images, Sequence):
            return [self.labels(image) for image in images]
        return self.labels(images)

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Predicts the class of each pixel, see `predict_labels`."""
        self._require_own_process()
        return predict_labels(self.network, self.protocol, images)

    def labels_by_rows(self, rows_of: RowsOf, size: tuple[int, int]) -> np.ndarray:
        """Predicts the class of each pixel, see `predict_labels_by_rows`."""
        self._require_own_process()
        return predict_labels_by_rows(self.network, self.protocol, rows_of, size)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Predicts logits, see `predict_logits`."""
        self._require_own_process()
        return predict_logits(self.network, self.protocol, images)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predicts the probability of each class, see `predict_probabilities`."""
        self._require_own_process()
        return predict_probabilities(self.network, self.protocol, images)

    @property
    def parallel(self) -> int:
        """Number of threads whose calls have a device of their own."""
        return self.network.parallel

    def _require_own_process(self) -> None:
        if self._process != os.getpid():
            raise UserError(
                f"This model was opened in process {self._process}, and asked in "
                f"process {os.getpid()}, a fork of it, which lacks its threads. Open "
                "the model in the process that uses it."
            )

    def images_at_once(self, size: tuple[int, int]) -> int:
        """Returns the best number of images of a (height, width) in a call."""
        return images_at_once(self.network, self.protocol, size)


def open_network(
    model: Path, threads: int | None = None
) -> tuple[Network, ExportManifest]:
    """Opens an exported model and checks it against its manifest.

    Raises:
        UserError: when it cannot be opened, or is not what its manifest says.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads: received {threads}; it must be at least 1.")
    require_utf8(model, "model")
    if not model.exists():
        raise UserError(f"{model} does not exist; name an exported model.")
    if format_of(model) is None:
        raise UserError(
            f"{model} is not an exported model; allowed: a .tflite or .onnx file, or a "
            "SavedModel folder, as scripts/export.py writes them."
        )
    manifest = read_manifest(model)
    if manifest.batch not in (None, 1):
        raise UserError(
            f"{model} takes {manifest.batch} images at once; this runtime takes files "
            "for 1 or any number. Export the model again."
        )
    backend = open_backend(model, manifest, threads)
    return _network(model, backend, manifest), manifest


def protocol_of(model: Path, manifest: ExportManifest) -> Protocol:
    """Reads the protocol of an exported model from its manifest.

    Raises:
        UserError: when the manifest's protocol is not complete.
    """
    try:
        return Protocol.from_settings(manifest.protocol)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"The manifest of {model} does not say how images are scaled: {error}. "
            "Export the model again with scripts/export.py."
        ) from error


def _network(model: Path, backend: Backend, manifest: ExportManifest) -> Network:
    def output(kind: str, images: np.ndarray) -> np.ndarray:
        result = backend.run(images)[kind]
        expected = output_shape(manifest, kind, images.shape[1:3])
        if result.shape != (len(images), *expected[1:]):
            raise UserError(
                f"{model} gave {kind} of shape {result.shape} for images of shape "
                f"{images.shape}; its manifest says {len(manifest.classes)} classes at "
                "the images' size. Export the model again."
            )
        return result

    def logits(images: np.ndarray) -> np.ndarray:
        assert kind is not None
        values = output(kind, images)
        if kind != PROBABILITIES:
            return values
        # Logarithms of probabilities are logits up to an added constant per pixel. It
        # changes no comparison of classes, not even after resizing or averaging.
        return np.log(np.maximum(values, np.finfo(values.dtype).tiny))

    kind = next((name for name in PER_CLASS if name in manifest.outputs), None)
    return Network(
        logits=logits if kind else None,
        labels=partial(output, LABELS) if LABELS in manifest.outputs else None,
        size=manifest.size,
        batch=manifest.batch,
    )
