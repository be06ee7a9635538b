"""What an exported model says of itself, in a JSON file beside it.

Shared by export and runtime; needs no TensorFlow.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError

LABELS, LOGITS, PROBABILITIES = "labels", "logits", "probabilities"
# Outputs that hold a value for each class.
PER_CLASS = (LOGITS, PROBABILITIES)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of an exported model.

    Attributes:
        name: as the file calls it.
        dtype: numpy's name of the type, such as "uint8".
        layout: "nhwc", "nchw", or "nhw" for labels.
        meaning: for people: colours, range, unit.
    """

    name: str
    dtype: str
    layout: str
    meaning: str


@dataclass(frozen=True)
class ExportManifest:
    """The contents of an export.

    Attributes:
        format: "saved_model", "tflite" or "onnx".
        precision: "fp32", "bf16", "fp16", "dynamic" or "int8".
        target: "portable", or "cpu-fp32" for a graph that only processors run fast.
        classes: names in the order of their ids.
        palette: RGB per class.
        size: (height, width) of the images it takes; None for any.
        batch: images at once; None for any number.
        input: the images, RGB 0-255.
        outputs: by kind: "labels", "logits", "probabilities".
        protocol: how whole images become inputs: the configuration's `evaluation`
            section and `align_corners`.
        config: the whole configuration of the source.
        weights_sha256: of the source's weights, see `weights.files.weights_hash`.
        sha256: of the file or folder itself, see `content_hash`.
        versions: of the packages that wrote it.
        accuracy: agreement with the Keras model, see `gcnet_tf.export.report`; empty
            when it was not measured.
    """

    format: str
    precision: str
    target: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: tuple[int, int] | None
    batch: int | None
    input: TensorInfo
    outputs: dict[str, TensorInfo]
    protocol: dict[str, Any]
    config: dict[str, Any]
    weights_sha256: str
    sha256: str
    versions: dict[str, str]
    accuracy: dict[str, Any] = dataclasses.field(default_factory=dict)


def manifest_path(model: Path) -> Path:
    """Where the manifest of an exported file (or SavedModel folder) lies."""
    if model.is_dir():
        return model / "manifest.json"
    return model.with_name(model.name + ".json")


def content_hash(model: Path) -> str:
    """SHA-256, in hex, of a file, or of a folder's files but for the manifest."""
    if not model.is_dir():
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    own = manifest_path(model)
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        # TensorFlow writes a fingerprint of its own, which says nothing of the model.
        if path != own and path.name != "fingerprint.pb":
            name = path.relative_to(model).as_posix()
            digest.update(f"{name}\0{content_hash(path)}\n".encode())
    return digest.hexdigest()


def megabytes(model: Path) -> float:
    """What an exported file, or a SavedModel folder, takes on the disk, MB."""
    files = model.rglob("*") if model.is_dir() else [model]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def write_manifest(model: Path, manifest: ExportManifest) -> None:
    """Writes the manifest beside the exported `model`."""
    text = json.dumps(dataclasses.asdict(manifest), indent=2)
    manifest_path(model).write_text(text + "\n")


def read_manifest(model: Path) -> ExportManifest:
    """Reads the manifest of the exported `model` and checks that it is the file's own.

    Raises:
        UserError: when there is none, it is damaged, or belongs to another file.
    """
    path = manifest_path(model)
    if not path.is_file():
        raise UserError(
            f"{model} has no manifest: expected {path}, which scripts/export.py writes "
            "and which has to be copied along with the model."
        )
    try:
        manifest = _from_dict(json.loads(path.read_text()))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not an export manifest, or is damaged ({error}). Export the "
            "model again with scripts/export.py."
        ) from error
    found = content_hash(model)
    if found != manifest.sha256:
        raise UserError(
            f"{path} belongs to another file: it says SHA-256 "
            f"{manifest.sha256[:12]}…, and {model} has {found[:12]}…. Copy both "
            "again from the same export."
        )
    return manifest


def _from_dict(content: dict[str, Any]) -> ExportManifest:
    manifest = ExportManifest(**content)
    size = manifest.size
    manifest = dataclasses.replace(
        manifest,
        classes=tuple(map(str, manifest.classes)),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in manifest.palette),
        size=None if size is None else (int(size[0]), int(size[1])),
        input=TensorInfo(**content["input"]),
        outputs={kind: TensorInfo(**info) for kind, info in content["outputs"].items()},
    )
    if len(manifest.classes) != len(manifest.palette) or not manifest.outputs:
        raise ValueError("classes, palette and outputs do not fit together")
    return manifest
