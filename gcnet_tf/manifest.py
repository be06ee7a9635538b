"""What an exported model says of itself, in `manifest.json` beside it.

Shared by export and runtime; imports nothing of ours and no TensorFlow.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

FILE = "manifest.json"


@dataclass(frozen=True)
class ExportManifest:
    """The contents of an export.

    Attributes:
        format: such as "saved_model".
        classes: names in the order of their ids.
        palette: RGB per class.
        inputs, outputs: name: description of each tensor.
    """

    format: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    inputs: dict[str, str]
    outputs: dict[str, str]


def write_manifest(folder: Path, manifest: ExportManifest) -> None:
    """Writes `manifest.json` into `folder`."""
    text = json.dumps(dataclasses.asdict(manifest), indent=2)
    (folder / FILE).write_text(text + "\n")


def read_manifest(folder: Path) -> ExportManifest:
    """Reads `manifest.json` from `folder`.

    Raises:
        ValueError: when it is not a manifest.
    """
    try:
        content = json.loads((folder / FILE).read_text())
        content["classes"] = tuple(content["classes"])
        content["palette"] = tuple(tuple(rgb) for rgb in content["palette"])
        return ExportManifest(**content)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / FILE} is not an export manifest") from error
