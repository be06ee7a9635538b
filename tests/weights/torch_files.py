"""Writer of PyTorch checkpoints that does not need PyTorch."""

import struct
import zipfile
from collections import OrderedDict
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


class Raw(bytes):
    """Pickle instructions in place of a value; they must push one value."""


def write_torch_file(path: Path, content: Any, container: str = "zip") -> Path:
    """Writes `content` as torch.save does.

    Args:
        path: the file.
        content: None, bool, int, float, str, list, tuple, dict, OrderedDict (as the
            class of that name), `Raw`, and arrays, which become tensors. Views of one
            array become tensors that share a storage, with their offset and strides.
        container: "zip" (PyTorch 1.6 and later) or "legacy".

    Returns:
        `path`.
    """
    pickle = Pickle(legacy=container == "legacy")
    program = pickle.dump(content)
    if container == "zip":
        members = {"data.pkl": program, "byteorder": b"little", "version": b"3\n"}
        for key, array in pickle.storages.items():
            members[f"data/{key}"] = storage_bytes(array)
        write_zip(path, {f"archive/{name}": data for name, data in members.items()})
    else:
        path.write_bytes(legacy_bytes(program, pickle.storages))
    return path


def write_zip(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def legacy_bytes(
    program: bytes,
    storages: dict[str, np.ndarray],
    protocol: int = 1001,
    little_endian: bool = True,
) -> bytes:
    """Makes the legacy container of a pickle; `storages` are those of `Pickle`."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {
        "protocol_version": protocol,
        "little_endian": little_endian,
        "type_sizes": sizes,
    }
    start = [0x1950A86A20F9469CFC6C, protocol, system]
    data = b"".join(Pickle().dump(value) for value in start) + program
    data += Pickle().dump(sorted(storages))
    for key in sorted(storages):
        array = storages[key]
        data += struct.pack("<q", array.size) + storage_bytes(array)
    return data


def storage_bytes(array: np.ndarray) -> bytes:
    """Returns the bytes of an array's memory, in the order of its elements there."""
    return array.ravel(order="K").tobytes()


def call(name: str, *arguments: Any) -> Raw:
    """Encodes the call of a global, which is named "module name" with a space."""
    return Raw(global_name(name) + Pickle().encode(arguments) + b"R")


def global_name(name: str) -> Raw:
    return Raw(b"c" + name.replace(" ", "\n").encode() + b"\n")


def with_state(value: Any, state: Any) -> Raw:
    """Encodes a value and a BUILD instruction that sets its state."""
    return Raw(Pickle().encode(value) + Pickle().encode(state) + b"b")


class Pickle:
    """A pickle of protocol 2, and the storages that it refers to, by key."""

    def __init__(self, legacy: bool = False) -> None:
        self.legacy = legacy
        self.storages: dict[str, np.ndarray] = {}

    def dump(self, value: Any) -> bytes:
        return b"\x80\x02" + self.encode(value) + b"."

    @singledispatchmethod
    def encode(self, value: Any) -> bytes:
        raise TypeError(f"cannot write a {type(value).__name__}")

    @encode.register
    def _(self, value: Raw) -> bytes:
        return value

    @encode.register
    def _(self, value: None) -> bytes:
        return b"N"

    @encode.register
    def _(self, value: bool) -> bytes:
        return b"\x88" if value else b"\x89"

    @encode.register
    def _(self, value: int) -> bytes:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data

    @encode.register
    def _(self, value: float) -> bytes:
        return b"G" + struct.pack(">d", value)

    @encode.register
    def _(self, value: str) -> bytes:
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data

    @encode.register
    def _(self, value: list) -> bytes:
        return b"](" + b"".join(map(self.encode, value)) + b"e"

    @encode.register
    def _(self, value: tuple) -> bytes:
        return b"(" + b"".join(map(self.encode, value)) + b"t"

    @encode.register
    def _(self, value: dict) -> bytes:
        items = (self.encode(part) for item in value.items() for part in item)
        return b"}(" + b"".join(items) + b"u"

    @encode.register
    def _(self, value: OrderedDict) -> bytes:
        empty = global_name("collections OrderedDict") + b")R"
        return empty + self.encode(dict(value)).removeprefix(b"}")

    @encode.register
    def _(self, value: np.ndarray) -> bytes:
        root = value
        while isinstance(root.base, np.ndarray):
            root = root.base
        offset = value.ctypes.data - root.ctypes.data
        arguments: tuple = (
            Raw(self._storage(root)),
            offset // value.itemsize,
            value.shape,
            tuple(stride // value.itemsize for stride in value.strides),
            False,
            OrderedDict(),
        )
        rebuild = global_name("torch._utils _rebuild_tensor_v2")
        return rebuild + self.encode(arguments) + b"R"

    def _storage(self, root: np.ndarray) -> bytes:
        keys = [key for key, array in self.storages.items() if array is root]
        key = keys[0] if keys else str(len(self.storages))
        self.storages[key] = root
        kind = global_name(f"torch {STORAGES[root.dtype.str[1:]]}")
        view = (None,) if self.legacy else ()
        return self.encode(("storage", kind, key, "cpu", root.size, *view)) + b"Q"
