"""Checksums of files, and inside of files and JSON objects that check themselves.

A byte that a disk has changed is noticed, and such a file is never used.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHECKSUM = "checksum"
_TRAILER = b"\nsha256 "
_BLOCK = 2**20


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of its values added, for `unsealed`."""
    return {**content, _CHECKSUM: _checksum(content)}


def unsealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The object without its checksum; one that has none is taken as it is.

    Raises:
        ValueError: when the values are not those that were sealed.
    """
    values = {key: value for key, value in content.items() if key != _CHECKSUM}
    if _CHECKSUM in content and content[_CHECKSUM] != _checksum(values):
        raise ValueError("its content does not match its checksum")
    return values


def append_checksum(path: Path) -> None:
    """Adds a line with the file's SHA-256, for formats that ignore what follows."""
    digest = file_sha256(path).encode()
    with path.open("ab") as file:
        file.write(_TRAILER + digest + b"\n")


def check_file(path: Path) -> None:
    """Checks a file against the line of `append_checksum`, if it has one.

    Raises:
        ValueError: when its bytes are not those that were written.
    """
    content = hashlib.sha256()
    length = len(_TRAILER) + 2 * content.digest_size + 1
    with path.open("rb") as file:
        left = max(path.stat().st_size - length, 0)
        while left and (block := file.read(min(left, _BLOCK))):
            content.update(block)
            left -= len(block)
        trailer = file.read()
    if not trailer.startswith(_TRAILER):
        return
    if trailer != _TRAILER + content.hexdigest().encode() + b"\n":
        raise ValueError("its content does not match its checksum")


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
