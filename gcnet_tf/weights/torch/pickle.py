"""Unpickler for files of torch.save, which runs no code in them.

A pickle is a program for a small machine. The module accepts only the instructions and
the names that weights need. A tensor becomes a description of where its data lies.
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
# and without their sizes the storages of a legacy file cannot be found.
_UNREAD_KINDS = {
    "BFloat16Storage": 2,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
}

# Names in the log of losses that a training run of mmengine saves beside the weights.
# Older numpy has another name of its module.
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

# All instructions that torch.save writes for weights, at its default protocol (2).
_INSTRUCTIONS = set("""PROTO STOP MARK GLOBAL REDUCE BUILD NEWOBJ BINPERSID
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    BINPUT LONG_BINPUT BINGET LONG_BINGET""".split())
# Some thirty instructions per tensor are usual, some ten thousand in all.
_MAX_INSTRUCTIONS = 1_000_000
_MAX_DIMENSIONS = 32
# Python's hash of a larger integer is a remainder, so that integers can be chosen whose
# hashes are all equal: a dictionary of 28,000 takes 13 s, of 56,000 four times that.
_MAX_KEY_BITS = 60
_FORGED = (
    "asks for far more work than any file of weights; nothing in it was run. Do not "
    "use it."
)
AGAIN = "Download or copy it again."


class Unusable(Exception):
    """The reason to refuse a file: it follows the path in the message to the user."""


class Storage(NamedTuple):
    """Data in which tensors lie."""

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
    """Reads one pickle, and returns its object and its storages by key.

    Tensors in the object are `Tensor`, dictionaries of any class are `dict`, and all
    objects of `_INERT_GLOBALS` are `_Inert`.
    """
    start = file.tell()
    _check_instructions(file)
    end = file.tell()
    file.seek(start)
    unpickler = _Unpickler(file)
    result = unpickler.load()
    file.seek(end)
    return result, unpickler.storages


def _check_instructions(file: IO[bytes]) -> None:
    """Reads to the end of a pickle, and refuses what only a forged one would do."""
    try:
        for index, (code, _, _) in enumerate(pickletools.genops(file)):
            if code.name not in _INSTRUCTIONS:
                raise Unusable(
                    f"uses the pickle instruction {code.name}, which no file of "
                    "weights needs; nothing in it was run. Save the weights again with "
                    "torch.save(model.state_dict(), …) and its default options."
                )
            if index >= _MAX_INSTRUCTIONS:
                raise Unusable(_FORGED)
    except ValueError as error:
        if file.read(1):
            raise
        raise Unusable(f"is cut off inside of its pickle. {AGAIN}") from error


def _check_keys(keys: list[Any]) -> None:
    """Refuses keys of a dictionary whose hashes a file can choose to be equal.

    Those of texts are seeded anew in each process. To hash a tuple nested some 100,000
    deep would overflow the stack and so kill the process.
    """
    for key in keys:
        is_large = isinstance(key, int) and key.bit_length() > _MAX_KEY_BITS
        if is_large or isinstance(key, tuple):
            raise Unusable(_FORGED)


# Python's unpickler in Python, which lets keys be checked before they are hashed; the
# one in C does not.
_InPython: Any = pickle._Unpickler


class _Unpickler(_InPython):
    """Unpickler that knows a table of names and refuses all others.

    Instructions may call the result of `find_class` with any arguments, and change it
    (BUILD). So the result never has attributes that can be set.
    """

    dispatch = dict(_InPython.dispatch)

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def load_setitem(self) -> None:
        """Runs the instruction SETITEM."""
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        """Runs the instruction SETITEMS, with all that lies behind the last mark."""
        _check_keys(self.stack[::2])
        super().load_setitems()

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def find_class(self, module: str, name: str) -> Any:
        """Returns the stand-in for a name of the pickle.

        Raises:
            Unusable: when no file of weights needs the name.
        """
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
        """Reads ("storage", kind, key, device, size), in legacy files with a view."""
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
    """Null object for objects that are not needed: it accepts any arguments."""

    __slots__ = ()

    def __new__(cls, *args: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _Dict(dict):
    """Stand-in for an OrderedDict, without the attributes that PyTorch adds to it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """Wrapper of a function, without attributes that can be set, unlike a function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function has no state")


def _empty_dict() -> _Dict:
    """Makes a dictionary, without arguments: copies of copies could fill the memory."""
    return _Dict()


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *unused: Any
) -> Tensor:
    """Makes a tensor from arguments of the file, which may have any type and value."""
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
    """Returns the number of bytes per element."""
    dtype = DTYPES.get(storage.kind)
    return dtype.itemsize if dtype else _UNREAD_KINDS[storage.kind]
