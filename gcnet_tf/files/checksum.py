"""Checksums of files, and checksums inside files and JSON objects.

They reveal a byte that a disk has changed, so that such a file is never used.
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
    """Returns the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON object with an added checksum of its values, for `unsealed`."""
    return {**values, _CHECKSUM: _checksum(values)}


def unsealed(sealed_values: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a JSON object and returns it without its checksum, if it has one.

    Raises:
        ValueError: when the values do not match the checksum.
        RecursionError: when they are nested too deeply.
    """
    values = {key: value for key, value in sealed_values.items() if key != _CHECKSUM}
    if _CHECKSUM in sealed_values and sealed_values[_CHECKSUM] != _checksum(values):
        raise ValueError("its content does not match its checksum")
    return values


def append_checksum(path: Path) -> None:
    """Appends a line with the file's SHA-256, for formats that ignore what follows."""
    digest = file_sha256(path).encode()
    with path.open("ab") as file:
        file.write(_TRAILER + digest + b"\n")


def check_file(path: Path) -> None:
    """Checks a file against the line of `append_checksum`, if it has one.

    Raises:
        ValueError: when the bytes do not match the checksum.
    """
    digest = hashlib.sha256()
    length = len(_TRAILER) + 2 * digest.digest_size + 1
    with path.open("rb") as file:
        left = max(path.stat().st_size - length, 0)
        while left and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
        trailer = file.read()
    if not trailer.startswith(_TRAILER):
        return
    if trailer != _TRAILER + digest.hexdigest().encode() + b"\n":
        raise ValueError("its content does not match its checksum")


def _checksum(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
