"""Copies of what is only read: images, weights, models and source folders."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gcnet_tf.files.atomic import PARTIAL
from gcnet_tf.files.checksum import file_sha256, sealed, unsealed
from gcnet_tf.files.remote.addresses import is_remote
from gcnet_tf.files.remote.cache import kept_entry
from gcnet_tf.files.remote.commits import (
    committed,
    is_committed,
    newest_commit,
)
from gcnet_tf.files.remote.failures import NotThere, RemoteError
from gcnet_tf.files.remote.store import Entry, Store

_NOTE, _FILES = "fetched.json", "files"
# An exported file has its manifest beside it.
_BESIDE = ".json"
# Folders between a run and its deepest files, checkpoints/00000400/model.weights.h5.
_LEVELS = 3
# Requests at a time; the time goes by waiting.
_AT_ONCE = 8


def local_copy(place: str, where: str) -> str:
    """Returns a path for a place: itself, or where it is an address, that of a copy.

    The copy is of the present objects; it stays until this process ends. Of a training
    it is the run folder of the last commit.

    Args:
        place: a path, or the address of an object, or of what lies below it.
        where: names the argument or setting, for messages.

    Raises:
        UserError: when there is nothing at the address, or it cannot be read.
    """
    if not is_remote(place):
        return place
    store = Store(place, where)
    found = store.list()
    if is_committed(found):
        return str(committed(store))
    # Without its folder, which may be the bucket.
    name = store.address.partition("://")[2].partition("/")[2].rpartition("/")[2]
    if found:
        return str(_copy(store, found, name))
    found = _object_and_beside(store, name)
    if found:
        above = Store(store.address.rpartition("/")[0], where)
        return str(_copy(above, found, "") / name)
    if (path := _in_committed(store)) is not None:
        return str(path)
    raise NotThere(
        f"{where}: there is no object {store.address}, and none below it. Check the "
        "name."
    )


def _object_and_beside(store: Store, name: str) -> dict[str, Entry]:
    """Returns a single object, and its manifest if it is an exported model."""
    entries = {name: store.entry(), name + _BESIDE: store.beside(_BESIDE).entry()}
    if entries[name] is None:
        return {}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _in_committed(store: Store) -> Path | None:
    """Returns a file of a run at an address above, which are objects of other names."""
    above, _, name = store.address.rpartition("/")
    for _ in range(_LEVELS):
        if above.count("/") < 3:  # the bucket, as in s3://bucket
            return None
        run = Store(above, "The address")
        if newest_commit(run) is not None:
            path = committed(run) / name
            return path if path.exists() else None
        above, _, folder = above.rpartition("/")
        name = f"{folder}/{name}"
    return None


def _copy(store: Store, found: Mapping[str, Entry], folder: str) -> Path:
    for name in found:
        require_safe(name, store.address)
    content = [[name, *entry] for name, entry in sorted(found.items())]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]
    address = hashlib.sha256(store.address.encode()).hexdigest()[:24]
    num_bytes = sum(entry.num_bytes for entry in found.values())
    path = kept_entry(
        f"at-{address}-{digest}",
        num_bytes,
        lambda partial: _fetch_all(store, found, partial, folder),
        lambda path: _is_intact(path, folder),
    )
    return path / _FILES / folder


def require_safe(name: str, address: str) -> None:
    """Checks that a file named as an object lies in the folder of the others.

    Raises:
        RemoteError: when the name has parts such as "..".
    """
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in name:
        raise RemoteError(
            f"{address}: the name of the object {name!r} is none for a file. Rename or "
            "remove it."
        )


def _fetch_all(
    store: Store, found: Mapping[str, Entry], partial: Path, folder: str
) -> None:
    """Fetches objects, but those that an earlier copy of the same address has."""
    files = partial / _FILES / folder
    files.mkdir(parents=True)
    address = partial.name.rpartition("-")[0].removeprefix(PARTIAL)
    earlier = [(path, _read_note(path)) for path in partial.parent.glob(f"{address}-*")]

    def fetch(name: str) -> tuple[str, Sequence[Any]]:
        entry, target = found[name], files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        for path, note in earlier:
            if note.get(name, [])[:3] == list(entry) and entry.stamp:
                with suppress(OSError):
                    shutil.copy2(path / _FILES / folder / name, target)
                    if file_sha256(target) == note[name][3]:
                        return name, note[name]
        store.fetch(name, target, entry.num_bytes)
        if entry.changed:
            # Records know their source by the times of its files.
            os.utime(target, (entry.changed, entry.changed))
        return name, [*entry, file_sha256(target)]

    note = dict(in_parallel(fetch, sorted(found), store.address))
    text = json.dumps(sealed({"files": note}))
    (partial / _NOTE).write_text(text, encoding="utf-8")


def in_parallel(function: Any, items: Sequence[Any], address: str) -> list[Any]:
    """Calls a function of each item, several at a time; stops at the first error."""
    bar = tqdm(items, desc=address, unit="file", disable=None, leave=False)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for _, future in zip(bar, futures, strict=True)]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _read_note(path: Path) -> dict[str, Any]:
    """Reads size, stamp, time and SHA-256 of each file of a copy; {} if damaged."""
    try:
        text = (path / _NOTE).read_text(encoding="utf-8")
        return unsealed(json.loads(text))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _is_intact(path: Path, folder: str) -> bool:
    note = _read_note(path)
    try:
        return bool(note) and all(
            file_sha256(path / _FILES / folder / name) == values[3]
            for name, values in note.items()
        )
    except OSError:
        return False
