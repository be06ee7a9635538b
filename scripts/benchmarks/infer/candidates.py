"""Candidates of the inference benchmark: exported files, and the peer's network."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks import peer
from benchmarks.turns import Candidate
from benchmarks.workers import own_command
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import PORTABLE, PRECISIONS
from gcnet_tf.processor import instruction_sets
from gcnet_tf.runtime.manifest import ExportManifest, megabytes, read_manifest

PEER_WORKER = peer.WORKERS / "reference_infer.py"
PEER_OUTPUTS = "labels, logits"

_FORMATS = {"saved_model": "SavedModel", "tflite": "TFLite", "onnx": "ONNX"}
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def exported_files(folder: Path) -> list[Path]:
    """Lists every export in a folder.

    Raises:
        UserError: when there is none.
    """
    files = sorted(
        [path.parent for path in folder.glob("*/saved_model.pb")]
        + [path for path in folder.iterdir() if path.suffix in (".onnx", ".tflite")]
        if folder.is_dir()
        else []
    )
    if not files:
        raise UserError(
            f"{folder} holds no exported model; scripts/export.py --out {folder} "
            "writes them."
        )
    return files


def file_command(kind: str, file: Path, last: Sequence[int]) -> list[object]:
    """Returns the command that starts infer/worker.py on a file.

    Args:
        kind: kind of file or interpreter, see the worker.
        file: file to open.
        last: height, width and threads.
    """
    return own_command("infer.worker", kind, file, *last)


def own_candidates(
    files: Sequence[Path], size: tuple[int, int], threads: int, folder: Path
) -> Iterator[Candidate]:
    """Yields the Keras model, and every file in each interpreter that can run it.

    Args:
        files: exports of one model.
        size: (height, width) of the image.
        threads: number of threads of each.
        folder: folder for files that the workers read.

    Raises:
        UserError: when a file is not for images of this size.
    """
    last = [*size, threads]
    manifests = {path: read_manifest(path) for path in files}
    config = folder / "config.json"
    config.write_text(
        json.dumps(next(iter(manifests.values())).config), encoding="utf-8"
    )
    command = file_command("keras", config, last)
    yield Candidate("Keras model", "labels, probabilities", command, None)
    for path, manifest in sorted(manifests.items(), key=_sort_key):
        check_size(path, manifest, size)
        name, outputs = name_of(manifest), ", ".join(sorted(manifest.outputs))
        command = file_command("file", path, last)
        if manifest.format != "onnx":
            yield Candidate(name, outputs, command, megabytes(path))
            continue
        yield Candidate(f"{name}, ONNX Runtime", outputs, command, megabytes(path))
        yield from _openvino(name, outputs, path, last)


def peer_candidates(
    python: Path, network: dict, size: tuple[int, int], threads: int, folder: Path
) -> Iterator[Candidate]:
    """Yields mmsegmentation in PyTorch, and the ONNX file that PyTorch writes of it.

    Args:
        python: python of mmsegmentation's environment.
        network: see `peer.network_of`.
        size, threads, folder: see `own_candidates`.

    Raises:
        UserError: when mmsegmentation's export fails.
    """
    common = [json.dumps(network), *size, threads]
    state, file = folder / "mmsegmentation.pth", folder / "mmsegmentation.onnx"
    export = [python, PEER_WORKER, "export", *common, state, file]
    result = subprocess.run(
        [str(word) for word in export], capture_output=True, text=True, encoding="utf-8"
    )
    if result.returncode:
        raise UserError(f"mmsegmentation's export failed: {result.stderr[-2000:]}")
    precisions = ["fp32", "bf16"] if _has_bfloat16() else ["fp32"]
    for precision in precisions:
        name = f"{peer.NAME}, PyTorch"
        name += "" if precision == "fp32" else f" {precision}"
        command = [python, PEER_WORKER, precision, *common]
        yield Candidate(name, PEER_OUTPUTS, command, megabytes(state))
    last = [*size, threads]
    if find_spec("onnxruntime"):
        yield Candidate(
            f"{peer.NAME}, ONNX Runtime",
            PEER_OUTPUTS,
            file_command("onnxruntime", file, last),
            megabytes(file),
        )
    yield from _openvino(peer.NAME, PEER_OUTPUTS, file, last)


def _openvino(
    name: str, outputs: str, file: Path, last: list[int]
) -> Iterator[Candidate]:
    """Yields an ONNX file in OpenVINO, also in bfloat16 if the processor has it."""
    if not find_spec("openvino"):
        return
    names = {"openvino": f"{name}, OpenVINO"}
    if _has_bfloat16():
        names["openvino-bf16"] = f"{name.removesuffix(' fp32')}, OpenVINO bf16"
    for kind, full_name in names.items():
        command = file_command(kind, file, last)
        yield Candidate(full_name, outputs, command, megabytes(file))


def _has_bfloat16() -> bool:
    # Limited to AVX2, as an experiment, OpenVINO has no kernel for it.
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() == "AVX2"
    return not limited and bool(_BFLOAT16 & set(instruction_sets()))


def _sort_key(item: tuple[Path, ExportManifest]) -> tuple:
    """Returns a key that sorts by format, precision, and outputs."""
    path, manifest = item
    precisions = PRECISIONS[manifest.format]
    return (
        list(PRECISIONS).index(manifest.format),
        precisions.index(manifest.precision),
        path,
    )


def check_size(path: Path, manifest: ExportManifest, size: tuple[int, int]) -> None:
    """Checks that a file takes images of a (height, width).

    Raises:
        UserError: when it does not.
    """
    if manifest.size not in (None, size):
        raise UserError(
            f"{path} takes images of {manifest.size[0]}x{manifest.size[1]}; "
            "received --size {}x{}. Give the size of the files.".format(*size)
        )


def name_of(manifest: ExportManifest) -> str:
    """Returns the name of an exported file in reports."""
    name = f"{_FORMATS[manifest.format]} {manifest.precision}"
    if manifest.target != PORTABLE:
        name = f"{_FORMATS[manifest.format]} {manifest.target}"
    return name + " labels" if list(manifest.outputs) == ["labels"] else name
