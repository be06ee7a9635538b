"""Reader of PyTorch checkpoints, with numpy alone, which runs no code in them.

A .pth file is a pickle, a program for a small machine, with the raw data of the tensors
beside it. The module reads both containers: the zip archive of PyTorch 1.6 and later,
and the older, legacy one (several pickles in a row, then the data).
"""

import io
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.reading import CannotRead, reading
from gcnet_tf.weights.torch.pickle import (
    AGAIN,
    DTYPES,
    Storage,
    Tensor,
    Unusable,
    element_size,
    unpickle,
)

_ZIP_START = b"PK\x03\x04"
# The pickle of the number that torch.save puts first in a legacy file.
_LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001

# Limit of the tensors' size over the file's size: tensors may share a storage, and one
# element may be repeated without end (stride 0).
_MAX_EXPANSION = 8

EMA_STATE = "ema_state_dict"


@dataclass(frozen=True)
class TorchFile:
    """The content of a checkpoint.

    Attributes:
        state_dict: tensors by name, in the order of the file; C-contiguous arrays that
            own their data. Names lack the prefix `module.` of nn.DataParallel.
        meta: notes of the training run; empty for a bare state dict. They are plain
            Python values, but the author of the file chose them: check before use.
            Tensors and arrays among them are opaque.
        ema_state_dict: a second set of weights, which mmengine's EMA hook has kept, by
            the same names, and its counter "steps"; {} where there is none.
    """

    state_dict: dict[str, np.ndarray]
    meta: dict[str, Any]
    ema_state_dict: dict[str, np.ndarray] = field(default_factory=dict)


def read_torch_file(path: str | Path) -> TorchFile:
    """Reads the weights and the notes in a .pth file, and nothing else.

    Raises:
        UserError: when the file is missing, damaged, or of another kind; `CannotRead`
            when the system cannot read it.
    """
    path = Path(path)
    try:
        with reading(path), path.open("rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size)
    except CannotRead as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UserError(f"There is no file {path}. Check the path.") from error
    except Unusable as error:
        raise UserError(f"{path} {error}") from error
    # A damaged or hostile file can make pickle and zipfile raise any exception.
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{path} is damaged ({reason}). {AGAIN}") from error


_ReadStorage = Callable[[Storage], bytes]


def _read(file: IO[bytes], num_bytes: int) -> TorchFile:
    start = file.read(512)
    file.seek(0)
    read_storage: _ReadStorage
    if start.startswith(_ZIP_START):
        checkpoint, read_storage = _open_zip(file, num_bytes)
    elif start.startswith(_LEGACY_START):
        checkpoint, read_storage = _open_legacy(file, num_bytes)
    else:
        raise Unusable(_describe_other_file(start))
    tensors, meta, ema = _contents(checkpoint)
    most = _MAX_EXPANSION * num_bytes
    return TorchFile(
        _load(tensors, read_storage, most), meta, _load(ema, read_storage, most)
    )


def _describe_other_file(start: bytes) -> str:
    """Describes a file that is neither of the two containers, by its first bytes."""
    if not start:
        return f"is empty. {AGAIN}"
    if _LEGACY_START.startswith(start) or _ZIP_START.startswith(start):
        return f"is cut off after {len(start)} bytes. {AGAIN}"
    if start[257:262] == b"ustar":
        return (
            "is a tar archive, as PyTorch wrote before version 0.1.11. Load and save "
            "it with a later PyTorch first."
        )
    if start.lstrip()[:1] == b"<":
        kind = "a web page (perhaps a server's error message)"
    elif start.startswith(b"\x89HDF\r\n\x1a\n"):
        kind = "an HDF5 file"
    elif start[8:9] == b"{":
        kind = "a safetensors file"
    else:
        kind = "something else"
    return (
        f"is {kind}, not a PyTorch checkpoint. Give a .pth file as torch.save writes "
        "it, or download it again."
    )


# The two containers


def _open_zip(file: IO[bytes], num_bytes: int) -> tuple[Any, _ReadStorage]:
    """Returns the unpickled object and the function that reads a storage."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise Unusable(
            f"is cut off: its zip archive has no directory at the end. {AGAIN}"
        ) from error
    root = _check_members(archive.infolist(), num_bytes)
    members = set(archive.namelist())

    def read_storage(storage: Storage) -> bytes:
        member = f"{root}/data/{storage.key}"
        if member not in members:
            raise Unusable(f"is damaged: it has no member {member!r}. {AGAIN}")
        return archive.read(member)

    byte_order = f"{root}/byteorder"
    if byte_order in members:
        _check_byte_order(archive.read(byte_order) == b"little")
    checkpoint, _ = unpickle(io.BytesIO(archive.read(f"{root}/data.pkl")))
    return checkpoint, read_storage


def _check_members(members: list[zipfile.ZipInfo], num_bytes: int) -> str:
    """Checks the archive's directory, and returns the name of its only top folder."""
    parts = [member.filename.split("/") for member in members]
    if not any(part[1:] == ["data.pkl"] for part in parts):
        raise Unusable(
            "is a zip archive, but not a PyTorch checkpoint: it has no data.pkl. Give "
            "a .pth file as torch.save writes it."
        )
    if any(part[1] in ("code", "constants.pkl") for part in parts if len(part) > 1):
        raise Unusable(
            "is a TorchScript archive, which holds a program. Save the weights alone "
            "with torch.save(model.state_dict(), …)."
        )
    roots = sorted({part[0] for part in parts})
    if len(roots) > 1:
        raise Unusable(
            f"is damaged: it has {len(roots)} top folders ({roots[0]!r}, {roots[1]!r}, "
            f"…) where PyTorch writes one. {AGAIN}"
        )
    # Neither PyTorch nor an honest copy compresses, but a zip bomb does.
    if any(
        member.compress_type != zipfile.ZIP_STORED
        or member.file_size != member.compress_size
        for member in members
    ):
        raise Unusable(
            "is a compressed zip archive, and PyTorch writes uncompressed ones. Use "
            "the original file."
        )
    if sum(member.file_size for member in members) > num_bytes:
        raise Unusable(f"is damaged: members of its archive overlap. {AGAIN}")
    return roots[0]


def _open_legacy(file: IO[bytes], num_bytes: int) -> tuple[Any, _ReadStorage]:
    """Returns the unpickled object and the function that reads a storage."""
    unpickle(file)  # the magic number
    protocol, _ = unpickle(file)
    if protocol != _LEGACY_PROTOCOL:
        raise Unusable(
            f"has an unknown format version. The known one is {_LEGACY_PROTOCOL}: save "
            "the weights again with a current PyTorch."
        )
    system, _ = unpickle(file)
    _check_byte_order(isinstance(system, dict) and system.get("little_endian") is True)
    checkpoint, storages = unpickle(file)
    keys, _ = unpickle(file)
    if not _are_strings(keys) or sorted(keys) != sorted(storages):
        raise Unusable(
            f"is damaged: its list of storages is not the one its tensors use. {AGAIN}"
        )
    offsets = _find_storages(file, [storages[key] for key in keys], num_bytes)

    def read_storage(storage: Storage) -> bytes:
        file.seek(offsets[storage.key])
        return file.read(storage.size * element_size(storage))

    return checkpoint, read_storage


def _find_storages(
    file: IO[bytes], storages: list[Storage], num_bytes: int
) -> dict[str, int]:
    """Walks from storage to storage, and returns the offset of the data of each."""
    offsets = {}
    for storage in storages:
        size = int.from_bytes(file.read(8), "little", signed=True)
        offsets[storage.key] = file.tell()
        end = file.tell() + storage.size * element_size(storage)
        if end > num_bytes:
            raise Unusable(
                f"is cut off: the data of its tensors ends early, after {num_bytes} "
                f"bytes. {AGAIN}"
            )
        if size != storage.size:
            raise Unusable(
                f"is damaged: a storage has {size} elements where its tensors expect "
                f"{storage.size}. {AGAIN}"
            )
        file.seek(end)
    return offsets


def _check_byte_order(is_little: bool) -> None:
    if not is_little:
        raise Unusable(
            "was written on a big-endian machine. Load and save it with PyTorch on a "
            "little-endian one first."
        )


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


# The tensors


def _contents(
    checkpoint: Any,
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor]]:
    """Finds the state dict, the notes and the second set of weights.

    The error describes other contents.
    """
    if not isinstance(checkpoint, dict):
        raise Unusable(
            "holds no dictionary. Give a file that has a state dict, as "
            "torch.save(model.state_dict(), …) writes."
        )
    state_dict = checkpoint.get("state_dict", checkpoint)
    meta = checkpoint.get("meta", {}) if state_dict is not checkpoint else {}
    if not isinstance(state_dict, dict) or not state_dict:
        raise Unusable(
            "holds no tensors: its state dict is empty. Give a file that has weights."
        )
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise Unusable(
                f"holds something other than tensors in its state dict, at "
                f"{_short(name)}. Give a file with a dictionary of tensors, or with "
                "one at 'state_dict'."
            )
    notes = meta.items() if isinstance(meta, dict) else ()
    meta = {key: value for key, value in notes if isinstance(key, str)}
    ema = checkpoint.get(EMA_STATE) if state_dict is not checkpoint else None
    pairs = ema.items() if isinstance(ema, dict) else ()
    ema = {
        key.removeprefix("module."): value
        for key, value in pairs
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    return _strip_module(state_dict), meta, ema


def _short(name: Any) -> str:
    return repr(name[:100]) if isinstance(name, str) else "a key that is no text"


def _strip_module(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): t for name, t in tensors.items()}
    return tensors


def _load(
    tensors: dict[str, Tensor], read_storage: _ReadStorage, max_bytes: int
) -> dict[str, np.ndarray]:
    """Reads each storage once, and copies its tensors out of it."""
    by_storage: dict[Storage, list[str]] = {}
    num_bytes = 0
    for name, tensor in tensors.items():
        if tensor.storage.kind not in DTYPES:
            raise Unusable(
                f"holds the tensor {_short(name)} as torch.{tensor.storage.kind}, "
                "which is not supported. Convert it with tensor.float() and save the "
                "state dict again."
            )
        by_storage.setdefault(tensor.storage, []).append(name)
        num_bytes += math.prod(tensor.size) * element_size(tensor.storage)
    if num_bytes > max_bytes:
        raise Unusable(
            f"holds tensors of {num_bytes} bytes in all, over {_MAX_EXPANSION} times "
            "its own size. Save them with tensor.clone() first."
        )
    arrays = {}
    for storage, names in by_storage.items():
        data = read_storage(storage)
        for name in names:
            arrays[name] = _copy_out(tensors[name], data)
    return {name: arrays[name] for name in tensors}


def _copy_out(tensor: Tensor, data: bytes) -> np.ndarray:
    """Returns a C-contiguous array of shape `tensor.size`.

    Its callers check the tensor, but numpy repeats the checks, with a ValueError.
    """
    dtype = DTYPES[tensor.storage.kind]
    if 0 in tensor.size:
        return np.empty(tensor.size, dtype)
    # The stride of a dimension of length 1 has no meaning, and may be any number.
    strides = [
        stride * dtype.itemsize if length > 1 else 0
        for length, stride in zip(tensor.size, tensor.stride, strict=True)
    ]
    offset = tensor.offset * dtype.itemsize
    return np.ndarray(tensor.size, dtype, data, offset, strides).copy()
