"""The folder of a page: its files, the interpreter, and a list of the models."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gcnet_tf.errors import UserError
from gcnet_tf.export.web.packages import LITERT, fetch_packages, read_files
from gcnet_tf.files.atomic import new_folder
from gcnet_tf.files.results import cannot_write, write_result

_INDEX, _PAGE, _PACKAGES, _LICENCES = "index.html", "page", "litert", "licences.txt"
MODELS = "models.json"
# A name of npm, which browsers do not know, and the address in its place.
_IMPORT = (b'from "@litertjs/wasm-utils"', b'from "./wasm-utils.js"')
_CHANGED = b"// Changed by gcnet_tf: the import of wasm-utils names a file.\n"


def require_site(out: Path) -> None:
    """Checks, before models are made for it, that a page can be written.

    Raises:
        UserError: when the folder holds another page, or a package is missing and
            cannot be downloaded.
    """
    if (out / _INDEX).exists() and not (out / MODELS).is_file():
        raise UserError(
            f"{out / _INDEX} exists and is not of an earlier export; it stays as it "
            "is. Choose another folder with --out."
        )
    fetch_packages()


def write_site(out: Path, models: Sequence[Path]) -> Path:
    """Writes the page beside its models; an earlier page is replaced.

    Args:
        out: the folder of the page, which any web server can serve.
        models: TFLite files with logits in this folder, with their manifests; the page
            opens the first one.

    Returns:
        The path of the page.

    Raises:
        UserError: when it cannot be written.
    """
    source = files(__package__)
    try:
        with new_folder(out / _PAGE) as partial:
            for item in (source / _PAGE).iterdir():
                if item.name != _INDEX:
                    (partial / item.name).write_bytes(item.read_bytes())
        with new_folder(out / _PACKAGES) as partial:
            _write_packages(partial)
    except OSError as error:
        raise cannot_write(out, error) from error
    licence = (source / "apache-2.0.txt").read_text(encoding="utf-8")
    write_result(out / _LICENCES, f"{_about_licences()}\n{licence}")
    write_result(out / MODELS, json.dumps([path.name for path in models]) + "\n")
    page = (source / _PAGE / _INDEX).read_text(encoding="utf-8")
    write_result(out / _INDEX, page)
    return out / _INDEX


def _write_packages(out: Path) -> None:
    for package, archive in zip(LITERT, fetch_packages()):
        for name, content in read_files(package, archive):
            if _IMPORT[0] in content:
                content = _CHANGED + content.replace(*_IMPORT)
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)


def _about_licences() -> str:
    lines = [
        "The page (index.html, page/) is part of gcnet_tf, and under the Apache",
        "License 2.0, below. So are these packages of npm, of Google LLC, in litert/:",
        "",
    ]
    lines += [f"- {package.name} {package.version}" for package in LITERT]
    lines += [
        "",
        "In litert/index.js the import of the second one names its file; nothing else",
        "was changed. The models (*.tflite) are of whoever trained them.",
        "",
    ]
    return "\n".join(lines)
