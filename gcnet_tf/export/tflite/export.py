"""Export to TFLite, for phones: LiteRT, its GPU delegate and MediaPipe Tasks."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils
from tqdm import tqdm

import gcnet_tf
from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.export.calibration import calibration_images
from gcnet_tf.export.files import describe, placed
from gcnet_tf.export.plan import PRECISIONS
from gcnet_tf.export.tflite.graph import check_graph, name_tensors
from gcnet_tf.export.tflite.metadata import metadata, with_metadata
from gcnet_tf.export.tflite.worker import ALL, CALIBRATED, CALIBRATED_PRECISIONS
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import INPUT, inference_graph
from gcnet_tf.runtime.manifest import LABELS, LOGITS, ExportManifest, TensorInfo
from gcnet_tf.weights.files import weights_by_path

_OUTPUTS = {
    LOGITS: TensorInfo(LOGITS, "float32", "nhwc", "logits of the classes"),
    LABELS: TensorInfo(LABELS, "uint8", "nhw", "class ids"),
}
_ENDINGS = {LOGITS: "", LABELS: "_labels"}


def export_tflite(
    model: Segmentor,
    config: Config,
    out: Path,
    *,
    precision: str = "fp32",
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] = (LOGITS, LABELS),
) -> list[Path]:
    """Writes `model_PRECISION.tflite` and `model_PRECISION_labels.tflite` into `out`.

    Their input is `images`, RGB 0-255 `(1, height, width, 3)`, float32, or uint8 for
    int8 and full_int8. The first has the output `logits`, float32, or int8 for
    full_int8, `(1, height, width, num_classes)`, and metadata for MediaPipe; the second
    `labels`, uint8 `(1, height, width)`.

    Args:
        model: the trained model.
        config: its configuration; int8 and full_int8 need its training records.
        out: the folder for the files.
        precision: "fp32"; "fp16": weights of half the size, float32 arithmetic on
            processors; "dynamic": 8-bit weights, and 8-bit activations for the
            convolutions with ranges found at run time; "int8": 8-bit convolutions with
            ranges from training images, the context and the resizing in float;
            "full_int8": nothing in float, for processors that have integers only.
        size: (height, width) of the image.
        outputs: the files to write: "logits", "labels" or both.

    Raises:
        UserError: when the precision or the size is not allowed, records are missing,
            the conversion fails, or a file exists and is not an earlier export.
    """
    if precision not in PRECISIONS["tflite"]:
        raise UserError(
            f'TFLite: received the precision "{precision}"; allowed: one of '
            f'{", ".join(PRECISIONS["tflite"])}.'
        )
    if size is None or min(size) < 1:
        raise UserError(
            "A TFLite file takes images of one size: give it as HEIGHTxWIDTH, for "
            "example 512x512."
        )
    manifests = {
        kind: describe(
            model,
            config,
            format="tflite",
            precision=precision,
            size=size,
            batch=1,
            input=TensorInfo(INPUT, _input_dtype(precision), "nhwc", "RGB, 0-255"),
            outputs={kind: _output(kind, precision)},
            packages=("tensorflow", "keras", *_quantiser(precision)),
        )
        for kind in outputs
    }
    paths = [out / f"model_{precision}{_ENDINGS[kind]}.tflite" for kind in outputs]
    with ExitStack() as stack:
        # At first, because it fails early where another file is in the way.
        partials = [
            stack.enter_context(placed(path, manifest))
            for path, manifest in zip(paths, manifests.values())
        ]
        work = Path(stack.enter_context(TemporaryDirectory(prefix="gcnet_tf-")))
        _save_model(model, size, list(manifests), work / "model")
        num_images = 0
        if precision in CALIBRATED_PRECISIONS:
            images = calibration_images(model, config, size)
            np.save(work / "images.npy", images)
            num_images = len(images)
        _run_worker(work, precision, list(manifests), num_images)
        for partial, (name, manifest) in zip(partials, manifests.items()):
            converted = (work / f"{name}.tflite").read_bytes()
            partial.write_bytes(_finish(converted, model, manifest))
    return paths


def _output(kind: str, precision: str) -> TensorInfo:
    if (kind, precision) != (LOGITS, "full_int8"):
        return _OUTPUTS[kind]
    content = "logits of the classes, with the tensor's scale and zero point"
    return TensorInfo(LOGITS, "int8", "nhwc", content)


def _quantiser(precision: str) -> list[str]:
    return ["litert-quantizer"] if precision in CALIBRATED_PRECISIONS else []


def _input_dtype(precision: str) -> str:
    # GPU delegates, which run the float files, do not accept integers.
    return "uint8" if precision in CALIBRATED_PRECISIONS else "float32"


def _save_model(
    model: Segmentor, size: tuple[int, int], names: Sequence[str], folder: Path
) -> None:
    """Writes a SavedModel with a signature for each output, and one for all outputs."""
    spec = tf.TensorSpec([1, *size, 3], tf.float32, INPUT)
    names = sorted(names)
    graph = inference_graph(model, spec, names)
    module = tf.Module()
    # A function is valid only while the module that holds it exists.
    module.graph = graph

    def signature(selected: Sequence[str]) -> Any:
        def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
            tensors = dict(zip(names, graph(images)))
            return {name: tensors[name] for name in selected}

        return tf.function(serve, input_signature=[spec])

    signatures = {name: signature([name]) for name in names}
    module.served = {**signatures, ALL: signature(names)}
    tf.saved_model.save(module, str(folder), signatures=module.served)


def _run_worker(
    work: Path, precision: str, names: Sequence[str], num_images: int
) -> None:
    """Converts the model in `work` in another process, which ends with this one.

    It is ended when an exception ends this function, and when this process is killed.

    Raises:
        UserError: when the conversion fails; the message gives the reason.
    """
    job = {"precision": precision, "outputs": names}
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    # The same package as here, wherever it lies; -P keeps the working folder out.
    package = str(Path(gcnet_tf.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    code = (
        "from gcnet_tf.export.child import end_with; "
        f"end_with({os.getpid()}); "
        "from gcnet_tf.export.tflite.worker import run; "
        f"run({str(work)!r})"
    )
    with (
        (work / "stderr.txt").open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            encoding="utf-8",
        ) as process,
    ):
        try:
            _show_progress(process.stdout, num_images)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise UserError(f"The TFLite conversion failed: {_reason(work, process)}")


def _show_progress(lines: Iterable[str] | None, num_images: int) -> None:
    """Shows the progress that the process prints, until it ends."""
    with tqdm(
        total=num_images,
        desc="calibrate",
        unit="img",
        leave=False,
        disable=None if num_images else True,
    ) as bar:
        for line in lines or []:
            bar.update(line.strip() == CALIBRATED)


def _reason(work: Path, process: subprocess.Popen) -> str:
    if (work / "error.txt").is_file():
        return (work / "error.txt").read_text(encoding="utf-8")
    if process.returncode < 0:
        return (
            f"its process was ended by signal {-process.returncode}; when that is 9, "
            "the memory may not have been enough."
        )
    lines = (
        (work / "stderr.txt")
        .read_text(errors="replace", encoding="utf-8")
        .strip()
        .splitlines()
    )
    return lines[-1] if lines else f"exit code {process.returncode}"


def _finish(converted: bytes, model: Segmentor, manifest: ExportManifest) -> bytes:
    """Checks a converted file, names its tensors and adds the metadata."""
    flat = flatbuffer_utils.read_model_from_bytearray(converted)
    (output,) = manifest.outputs
    name_tensors(flat, manifest.input.name, output)
    check_graph(
        flat,
        _num_convolutions(model),
        float_context=manifest.precision != "full_int8",
    )
    metadata_bytes = metadata(
        manifest.classes, output, is_logits=output == LOGITS, usage=manifest.usage
    )
    return with_metadata(flat, metadata_bytes, manifest.classes)


def _num_convolutions(model: Segmentor) -> int:
    """Counts the convolutions of the network without the auxiliary head."""
    # The kernel of the concatenation is used in two halves, by matrix products.
    kernels = [
        path
        for path in weights_by_path(model)
        if path.endswith("/kernel") and not path.endswith("/concat/kernel")
    ]
    return sum(not path.startswith("auxiliary_head/") for path in kernels)
