"""Requests of the package to a store, each with a check that it was done."""

import os
from collections.abc import Callable
from pathlib import Path

from gcnet_tf.files.remote.store import Store

CONTENT = os.urandom(300_000)


def listed(store: Store, folder: Path) -> bool:
    return {name: entry.num_bytes for name, entry in store.list().items()} == {
        "there": len(CONTENT),
        "small": 5,
    }


def read(store: Store, folder: Path) -> bool:
    return store.read("small") == b"small" and store.read("there") == CONTENT


def fetched(store: Store, folder: Path) -> bool:
    store.fetch("there", folder / "copy", len(CONTENT))
    return (folder / "copy").read_bytes() == CONTENT


def put(store: Store, folder: Path) -> bool:
    (folder / "new").write_bytes(CONTENT[::-1])
    store.put("new", folder / "new")
    return True


def written(store: Store, folder: Path) -> bool:
    store.write("small", b"other")
    return True


def created(store: Store, folder: Path) -> bool:
    return store.create("first", b"mine") and not store.create("there", b"mine")


def removed(store: Store, folder: Path) -> bool:
    store.remove(["there", "missing"])
    return True


def _is(name: str, content: bytes) -> Callable[[Store], bool]:
    return lambda store: store.read(name) == content


# Operations, and what is true after each when the store has no faults any more.
OPERATIONS: dict[Callable[[Store, Path], bool], Callable[[Store], bool]] = {
    listed: lambda store: True,
    read: lambda store: True,
    fetched: lambda store: True,
    put: _is("new", CONTENT[::-1]),
    written: _is("small", b"other"),
    created: _is("first", b"mine"),
    removed: lambda store: sorted(store.list()) == ["small"],
}


def prepare(store: Store) -> None:
    """Makes the objects that the operations meet."""
    store.remove(store.list())
    store.write("there", CONTENT)
    store.write("small", b"small")
