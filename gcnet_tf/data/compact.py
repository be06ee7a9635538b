"""Millions of rows of text in about ten bytes each, and objects made of them on demand.

A `Path` takes 300 bytes, a pair of them with its name 800, so that ten million pairs
would fill the memory of most machines. Names in order repeat almost all of the name
before, and packed they take what is new in each.
"""

import hashlib
import heapq
import marshal
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Generic, TypeVar, overload

import numpy as np

from gcnet_tf.files.names import to_bytes

T = TypeVar("T")
Row = tuple[str, ...]

# Rows that are packed together: more take longer to read one of, fewer take more space.
_BLOCK = 64
# Rows that are sorted at once, about 20 MB of them.
_RUN = 2**16
# Bytes of a hash: two of ten million texts have the same in one case of 10^15.
_HASH = 12


class Rows(Sequence[Row]):
    """Rows of text, packed.

    Reading by index unpacks a block of rows, so that neighbours cost little more.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._blocks: list[bytes] = []
        self._firsts: list[str] = []  # first text of each packed block
        self._open: list[Row] = []  # rows that are not packed yet
        # Number and rows of the block that was read last: one value, for threads.
        self._last: tuple[int, list[Row]] = (-1, [])
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        """Adds a row."""
        self._open.append(row)
        if len(self._open) == _BLOCK:
            self._firsts.append(self._open[0][0])
            # Version 2 of the format writes the same whoever else holds a text.
            self._blocks.append(zlib.compress(marshal.dumps(self._open, 2), 1))
            self._open = []

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._open)

    def __iter__(self) -> Iterator[Row]:
        for block in self._blocks:
            yield from marshal.loads(zlib.decompress(block))
        yield from self._open

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return View(self, order=range(len(self))[index])
        block, place = divmod(range(len(self))[index], _BLOCK)
        return self._rows(block)[place]

    def find(self, key: str) -> Row | None:
        """Returns a row whose first text is `key`; the rows must be in order."""
        block = max(bisect_right(self._firsts, key) - 1, 0)
        rows = chain(self._rows(block), self._open)
        return next((row for row in rows if row[0] == key), None)

    def _rows(self, block: int) -> list[Row]:
        if block >= len(self._blocks):
            return self._open
        number, rows = self._last
        if number != block:
            rows = marshal.loads(zlib.decompress(self._blocks[block]))
            self._last = block, rows
        return rows


def in_order(rows: Iterable[Row]) -> Iterator[Row]:
    """Sorts rows, of which only a part is unpacked at a time."""
    rows = iter(rows)
    runs: list[Rows] = []
    while len(run := sorted(islice(rows, _RUN))) == _RUN:
        runs.append(Rows(run))
    return heapq.merge(*runs, run) if runs else iter(run)


class Names(Set[str]):
    """A set of texts, packed and in order."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        rows = in_order((name,) for name in names)
        self._rows = Rows(row for row, _ in groupby(rows))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._rows.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return map(itemgetter(0), self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _same(item: Any) -> Any:
    return item


class View(Sequence[T], Generic[T]):
    """Items of another sequence, each made into an object when it is asked for.

    Args:
        items: the other sequence.
        make: makes an object of an item; None to take it as it is.
        order: indices of the items, in the order of the view; None for all of them.
    """

    def __init__(
        self,
        items: Sequence,
        make: Callable[[Any], T] | None = None,
        order: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self._items = items
        self._make = make or _same
        self._order = range(len(items)) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[T]:
        if isinstance(self._order, range) and self._order == range(len(self._items)):
            return map(self._make, self._items)
        return (self._make(self._items[int(index)]) for index in self._order)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "View[T]": ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return View(self._items, self._make, self._order[index])
        return self._make(self._items[int(self._order[index])])

    def __add__(self, other: Sequence[T]) -> "View[T]":
        return View(_Joined(self, other))


class _Joined(Sequence):
    """Two sequences, one after the other."""

    def __init__(self, first: Sequence, second: Sequence) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __iter__(self) -> Iterator:
        return chain(self._first, self._second)

    def __getitem__(self, index):
        after = index - len(self._first)
        return self._first[index] if after < 0 else self._second[after]


def hashes(texts: Iterable[str]) -> np.ndarray:
    """Returns the beginning of the SHA-256 of each text, bytes (number,).

    Their order is the same on every machine, and mixes the texts.
    """
    digests = (hashlib.sha256(to_bytes(text)).digest()[:_HASH] for text in texts)
    return np.frombuffer(_joined(digests), f"S{_HASH}")


def _joined(parts: Iterable[bytes]) -> bytearray:
    buffer = bytearray()
    for part in parts:
        buffer += part
    return buffer
