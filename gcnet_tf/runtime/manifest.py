"""The manifest of an exported model: a JSON file beside it that describes it.

Export and runtime share this module, which needs no TensorFlow.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError, first_line

LABELS, LOGITS, PROBABILITIES = "labels", "logits", "probabilities"
# Kinds of outputs that hold a value for each class.
PER_CLASS = (LOGITS, PROBABILITIES)
# What text that describes no model raises: RecursionError is that of thousands of
# nested brackets, OverflowError that of 1e999 as an integer.
_NOT_ONE = (
    *(KeyError, TypeError, ValueError, AttributeError),
    *(OverflowError, RecursionError),
)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of an exported model.

    Attributes:
        name: its name in the file.
        dtype: numpy's name of the type, such as "uint8".
        layout: "nhwc", "nchw", or "nhw" for labels.
        meaning: colours, range and unit, in words for people.
    """

    name: str
    dtype: str
    layout: str
    meaning: str


@dataclass(frozen=True)
class ExportManifest:
    """The description of an exported model.

    Attributes:
        format: "saved_model", "tflite" or "onnx".
        precision: "fp32", "bf16", "fp16", "dynamic", "int8" or "full_int8".
        target: "portable", or "cpu-fp32" for a graph that only processors run fast.
        classes: names in the order of their ids.
        palette: RGB per class.
        size: (height, width) of its input images; None for any.
        batch: number of images in a batch; None for any.
        input: the images, RGB 0-255.
        outputs: outputs by kind: "labels", "logits", "probabilities".
        protocol: settings of `Protocol`: the configuration's `evaluation` section,
            `align_corners` and `padding_colour`.
        config: the whole configuration of the source.
        weights_sha256: hash of the source's weights, see `weights.files.weights_hash`.
        sha256: hash of the file or folder itself, see `content_hash`.
        versions: versions of the packages that wrote it.
        accuracy: agreement with the Keras model, see `gcnet_tf.export.accuracy`; empty
            when it was not measured.
        usage: how a photo becomes labels with this file, in words for people; empty in
            exports up to version 0.2.
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
    usage: str = ""


def manifest_path(model: Path) -> Path:
    """Returns the path of the manifest of an exported file or SavedModel folder."""
    if model.is_dir():
        return model / "manifest.json"
    return model.with_name(model.name + ".json")


def is_part(name: str) -> bool:
    """Tells whether a file of a SavedModel folder is part of the model.

    Other programs put files there, too: TensorFlow Serving reads requests that warm it
    up from `assets.extra`, and macOS writes `.DS_Store`. Neither changes the model. Nor
    does TensorFlow's fingerprint.pb say anything about it.

    Args:
        name: its path in the folder.
    """
    folder, _, file = name.rpartition("/")
    if folder == "variables":
        return file.startswith("variables.")
    if folder == "assets" or folder.startswith("assets/"):
        return not file.startswith(".")
    return name == "saved_model.pb"


def content_hash(model: Path) -> str:
    """Returns the hex SHA-256 of a file, or of a folder's files that are the model."""
    if not model.is_dir():
        with model.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        name = path.relative_to(model).as_posix()
        if is_part(name):
            digest.update(f"{name}\0{content_hash(path)}\n".encode())
    return digest.hexdigest()


def megabytes(model: Path) -> float:
    """Returns the size in MB of an exported file or SavedModel folder on the disk."""
    files = model.rglob("*") if model.is_dir() else [model]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def write_manifest(model: Path, manifest: ExportManifest) -> None:
    """Writes the manifest beside the exported `model`."""
    text = json.dumps(dataclasses.asdict(manifest), indent=2)
    manifest_path(model).write_text(text + "\n", encoding="utf-8")


def read_manifest(model: Path) -> ExportManifest:
    """Reads the manifest of the exported `model` and checks that they belong together.

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
        manifest = _from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, *_NOT_ONE) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"{path} is not an export manifest, or is damaged ({reason}). Export the "
            "model again with scripts/export.py."
        ) from error
    actual_hash = content_hash(model)
    if actual_hash != manifest.sha256:
        raise UserError(
            f"{path} belongs to another file: it says SHA-256 "
            f"{manifest.sha256[:12]}…, and {model} has {actual_hash[:12]}…. Copy both "
            "again from the same export."
        )
    return manifest


def _from_dict(fields: dict[str, Any]) -> ExportManifest:
    manifest = ExportManifest(**fields)
    size = manifest.size
    manifest = dataclasses.replace(
        manifest,
        classes=tuple(map(str, manifest.classes)),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in manifest.palette),
        size=None if size is None else (int(size[0]), int(size[1])),
        input=TensorInfo(**fields["input"]),
        outputs={kind: TensorInfo(**info) for kind, info in fields["outputs"].items()},
    )
    _check(manifest)
    return manifest


def _check(manifest: ExportManifest) -> None:
    """Checks the values that the rest of the package relies on."""
    tensors = [manifest.input, *manifest.outputs.values()]
    texts = [manifest.format, manifest.precision, manifest.target]
    texts += [manifest.sha256, manifest.usage]
    texts += [text for tensor in tensors for text in dataclasses.astuple(tensor)]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    objects = (manifest.protocol, manifest.config, manifest.accuracy)
    if not all(isinstance(item, dict) for item in objects):
        raise ValueError("protocol, config or accuracy is no object")
    if len(manifest.classes) != len(manifest.palette) or not manifest.outputs:
        raise ValueError("classes, palette and outputs do not fit together")
    if unknown := manifest.outputs.keys() - {LABELS, *PER_CLASS}:
        raise ValueError(f"an output is called {min(unknown)}")
    levels = [level for colour in manifest.palette for level in colour]
    numbers = [*(manifest.size or ()), 1 if manifest.batch is None else manifest.batch]
    if not (set(levels) <= set(range(256)) and all(n >= 1 for n in numbers)):
        raise ValueError("a colour, the size or the batch is out of range")
