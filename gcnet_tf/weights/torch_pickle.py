"""Unpickles what torch.save wrote, and runs nothing that is in it.

A pickle is a program for a small machine. Only the instructions and the names that
weights need are known here; tensors come out as where their data lies.
"""

import pickle
import pickletools
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np

DTYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Bytes per element of the kinds that are not read. They may occur beside the weights,
# and a legacy file cannot be walked through without their sizes.
_UNREAD_KINDS = {
    "BFloat16Storage": 2,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
}

# What a training run of mmengine carries beside the weights: its log of the losses.
# Older numpy spells its module in another way.
_INERT_GLOBALS = {
    ("mmengine.logging.history_buffer", "HistoryBuffer"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("_codecs", "encode"),
    ("__builtin__", "getattr"),
}

# All that torch.save writes for weights, at its default protocol (2).
_INSTRUCTIONS = set("""PROTO STOP MARK GLOBAL REDUCE BUILD NEWOBJ BINPERSID
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    BINPUT LONG_BINPUT BINGET LONG_BINGET""".split())
# A tuple nested some 100,000 deep overflows the stack, and so kills the process, when
# it is a key. Four per tensor are usual, some thousands in all.
_MAX_TUPLES = 50_000
_MAX_DIMENSIONS = 32
AGAIN = "Download or copy it again."


class Unusable(Exception):
    """Why a file is refused: what follows its path in the message to the user."""


class Storage(NamedTuple):
    """Data that tensors point into."""

    kind: str  # the name of its class in torch
    key: str
    size: int  # in elements


class Tensor(NamedTuple):
    """A tensor that is not loaded yet; offset and stride in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


# The machine


def unpickle(file: IO[bytes]) -> tuple[Any, dict[str, Storage]]:
    """Reads one pickle; returns its object and the storages that it names, by key.

    Tensors in the object are `Tensor`, dictionaries of any class are `dict`, and all
    that `_INERT_GLOBALS` stands for is `_Inert`.
    """
    start = file.tell()
    _check_instructions(file)
    end = file.tell()
    file.seek(start)
    unpickler = _Unpickler(file)
    content = unpickler.load()
    file.seek(end)
    return content, unpickler.storages


def _check_instructions(file: IO[bytes]) -> None:
    """Reads up to the end of a pickle; refuses what only a made-up one would do."""
    num_tuples = 0
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(file)):
            if code.name not in _INSTRUCTIONS:
                raise Unusable(
                    f"uses the pickle instruction {code.name}, which no file of "
                    "weights needs; nothing in it was run. Save the weights again with "
                    "torch.save(model.state_dict(), …) and its default options."
                )
            num_tuples += code.name.startswith("TUPLE")
            # The memo grows to the largest number asked for, at once.
            misuses_memo = code.name.endswith("PUT") and int(argument or 0) > number
            if misuses_memo or num_tuples > _MAX_TUPLES:
                raise Unusable(
                    "asks for far more memory or depth than any file of weights; "
                    "nothing in it was run. Do not use it."
                )
    except ValueError as error:
        if file.read(1):
            raise
        raise Unusable(f"is cut off inside of its pickle. {AGAIN}") from error


class _Unpickler(pickle.Unpickler):
    """Gives meaning to a table of names, and refuses all else.

    Instructions may call what `find_class` returns with any arguments, and change it
    (BUILD). So it returns nothing that has attributes to set.
    """

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _INERT_GLOBALS:
            return _Inert
        if module == "torch" and (name in DTYPES or name in _UNREAD_KINDS):
            return name
        if (module, name) in _FUNCTIONS:
            return _FUNCTIONS[module, name]
        raise Unusable(
            f"refers to {f'{module}.{name}'[:100]!r}, which no file of weights needs; "
            "nothing in it was run. If you trust where it comes from, load it with "
            "PyTorch and save torch.save(model.state_dict(), …) instead."
        )

    def persistent_load(self, pid: Any) -> Storage:
        """Takes ("storage", kind, key, device, size), in legacy files with a view."""
        match pid:
            case ("storage", str(kind), str(key), _, int(size)):
                pass
            case ("storage", str(kind), str(key), _, int(size), None):
                pass
            case ("storage", _, _, _, _, _):
                raise Unusable(
                    "holds views of storages, as very early PyTorch wrote. Load and "
                    "save it with a later PyTorch first."
                )
            case _:
                raise ValueError("a storage of an unknown form")
        if size < 0 or not (kind in DTYPES or kind in _UNREAD_KINDS):
            raise ValueError("a storage of an unknown form")
        storage = Storage(kind, key, size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("two storages with one key")
        return storage


class _Inert:
    """Stands for objects that are not needed: accepts everything, does nothing."""

    __slots__ = ()

    def __new__(cls, *args: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _Dict(dict):
    """Stands for an OrderedDict; drops the attributes that PyTorch gives to it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """Calls a function, and has no attributes to set, while a function has."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function has no state")


def _empty_dict() -> _Dict:
    """Takes no arguments: copies of copies could fill the memory from a small file."""
    return _Dict()


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *unused: Any
) -> Tensor:
    """The arguments are as in the file, hence of any type and value."""
    fits = (
        isinstance(storage, Storage)
        and _is_index(offset)
        and _is_shape(size)
        and _is_shape(stride)
        and len(size) == len(stride)
    )
    if fits and 0 not in size:
        steps = zip(size, stride, strict=True)
        last = offset + sum((length - 1) * step for length, step in steps)
        fits = last < storage.size
    if not fits:
        raise ValueError("a tensor that does not lie in its storage")
    return Tensor(storage, offset, size, stride)


def _rebuild_parameter(tensor: Any, *unused: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor


_FUNCTIONS = {
    ("collections", "OrderedDict"): _Function(_empty_dict),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
}


def _is_index(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= _MAX_DIMENSIONS
        and all(map(_is_index, value))
    )


def element_size(storage: Storage) -> int:
    dtype = DTYPES.get(storage.kind)
    return dtype.itemsize if dtype else _UNREAD_KINDS[storage.kind]
