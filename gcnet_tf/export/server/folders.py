"""Folders that TensorFlow Serving and Triton open as they are, with examples."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.export.server import templates
from gcnet_tf.files.atomic import new_folder
from gcnet_tf.files.results import cannot_write
from gcnet_tf.runtime.manifest import ExportManifest, manifest_path, read_manifest

NAME = "gcnet"
VERSION = "1"
# Where TensorFlow Serving looks for requests with which it warms a model up.
_WARM_UP = "assets.extra/tf_serving_warmup_requests"
# (height, width) of the picture in these requests, for networks that take any size.
_WARM_UP_SIZE = (512, 512)


def require_server_packages() -> None:
    """Checks that requests for TensorFlow Serving can be written.

    Raises:
        UserError: when the package for it is missing.
    """
    try:
        import tensorflow_serving.apis  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--server needs the package tensorflow-serving-api, which is not installed "
            f'({first_line(error)}): pip install -e ".[server]"'
        ) from error


def write_server_folders(out: Path, models: Sequence[Path]) -> Path:
    """Writes `out`/server, from exported models; an earlier one is replaced.

    - `tensorflow_serving/gcnet/1`: a SavedModel, with requests that warm it up, beside
      `batching.txt` and `models.config`.
    - `triton/gcnet` and `triton/gcnet_onnx`: a SavedModel and an ONNX file, each with
      its `config.pbtxt`.
    - `README.md`: the commands that start the servers and ask them.

    A copy shares the disk space of its original where the disk has hard links.

    Args:
        out: the folder of the export.
        models: the exported models; the first SavedModel and the first ONNX file are
            taken.

    Returns:
        The folder.

    Raises:
        UserError: when it cannot be written, or was not written by this function.
    """
    folder = out / "server"
    if folder.exists() and not (folder / "README.md").is_file():
        raise UserError(
            f"{folder} exists and is not of an earlier export; it stays as it is. "
            "Choose another folder with --out."
        )
    manifests = {path: read_manifest(path) for path in models}
    by_format = {manifest.format: path for path, manifest in [*manifests.items()][::-1]}
    saved_model, onnx = (by_format.get(name) for name in ("saved_model", "onnx"))
    try:
        with new_folder(folder) as partial:
            if saved_model is not None:
                _tensorflow_serving(
                    partial / "tensorflow_serving", saved_model, manifests[saved_model]
                )
                _triton(
                    partial / "triton" / NAME,
                    saved_model,
                    "model.savedmodel",
                    templates.triton_saved_model(NAME),
                )
            if onnx is not None:
                name = f"{NAME}_onnx"
                _triton(
                    partial / "triton" / name,
                    onnx,
                    "model.onnx",
                    templates.triton_onnx(name, manifests[onnx]),
                )
            text = templates.readme(NAME, saved_model is not None, onnx is not None)
            _write(partial / "README.md", text)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def _tensorflow_serving(out: Path, model: Path, manifest: ExportManifest) -> None:
    version = out / NAME / VERSION
    _copy(model, version)
    warm_up = version / _WARM_UP
    warm_up.parent.mkdir(parents=True, exist_ok=True)
    _write_warm_up(warm_up, manifest.size or _WARM_UP_SIZE)
    _write(out / "batching.txt", templates.BATCHING)
    _write(out / "models.config", templates.models_config(NAME))


def _triton(out: Path, model: Path, name: str, config: str) -> None:
    _copy(model, out / VERSION / name)
    if model.is_file():
        _copy(manifest_path(model), manifest_path(out / VERSION / name))
    _write(out / "config.pbtxt", config)


def _write_warm_up(path: Path, size: tuple[int, int]) -> None:
    """Writes a request for each signature that takes photos."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    file = tf.io.encode_jpeg(photo).numpy()
    inputs: dict[str, dict[str, Any]] = {
        "serving_default": {"images": photo[None]},
        "serving_encoded": {"image_bytes": [file]},
        "serving_png": {"image_bytes": [file]},
    }
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = NAME
            request.model_spec.signature_name = signature
            for name, value in tensors.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())


def _copy(source: Path, target: Path) -> None:
    """Copies a file or folder, by links where the disk has them."""

    def copy(source: str, target: str) -> str:
        try:
            os.link(source, target)
        except OSError:  # across disks, or on one without links
            shutil.copy2(source, target)
        return target

    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=copy)
    else:
        copy(str(source), str(target))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
