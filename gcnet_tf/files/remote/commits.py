"""A folder that one process writes, and whose states are committed to an address.

A store has no rename and no lock. So a state of the folder is a commit: a record,
commits/00000042.json, that lists every file with its size, its SHA-256 and the object
that holds it. The objects are written first, each under a name that is used once, and
the record last. A reader takes the record with the highest number: a state is there
whole or not at all.

A record is created, which fails where there is one of its number. A process begins with
a record of its own; whoever wrote before finds the next number taken, and stops. So of
two processes one can commit, and nothing that was committed changes. Records are never
removed: with a number that became free again, a process that had slept could go on.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import PARTIAL, partial_path
from gcnet_tf.files.checksum import file_sha256, sealed, unsealed
from gcnet_tf.files.lock import LOCK_FILE
from gcnet_tf.files.remote.addresses import CREATING
from gcnet_tf.files.remote.cache import kept_entry, remote_folder
from gcnet_tf.files.remote.failures import NotThere, RemoteError
from gcnet_tf.files.remote.store import Store

_COMMITS, _OBJECTS = "commits/", "objects/"
# Commits to try to read, while a training makes new ones.
_READINGS = 5


@dataclass(frozen=True)
class Object:
    """A file of a commit.

    Attributes:
        name: name of the object that holds it.
        num_bytes: its size.
        sha256: hash of its bytes.
    """

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """A state of a folder.

    Attributes:
        number: its number, from 1 on.
        writer: the process that wrote it: host, pid, since, token.
        files: the objects by the names of the files.
    """

    number: int
    writer: Mapping[str, Any]
    files: Mapping[str, Object] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Returns the content of the record."""
        return json.dumps(sealed(asdict(self)), indent=1).encode()


def is_committed(names: Iterable[str]) -> bool:
    """Tells whether objects, named from an address on, are a committed folder."""
    return any(name.startswith(_COMMITS) for name in names)


def newest_commit(store: Store) -> Commit | None:
    """Reads the last commit; None where there is none.

    Raises:
        RemoteError: when it cannot be read, or is damaged.
    """
    commits = Store(f"{store.address}/{_COMMITS}", "The address").list()
    names = [name for name in commits if name.removesuffix(".json").isdigit()]
    if not names:
        return None
    name = _COMMITS + max(names, key=lambda name: int(name.removesuffix(".json")))
    try:
        values = unsealed(json.loads(store.read(name)))
        files = {path: Object(**values) for path, values in values["files"].items()}
        if unsafe := [path for path in files if not _is_safe(path)]:
            raise ValueError(f"it lists the file {unsafe[0][:100]!r}")
        return Commit(int(values["number"]), values["writer"], files)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise RemoteError(
            f"{store.address}/{name} is damaged: {error}. Put an earlier version of "
            "this object back."
        ) from error


def committed(store: Store) -> Path:
    """Returns a copy of the last committed state, which stays until the process ends.

    Raises:
        RemoteError: when there is none yet, or it cannot be read.
    """
    for _ in range(_READINGS):
        commit = newest_commit(store)
        if commit is None or not commit.files:
            break
        try:
            return _copy_of(store, commit)
        except NotThere:  # the next commit has removed an object of this one
            continue
    raise RemoteError(
        f"{store.address}: a training has begun there, and has committed nothing yet "
        "that stays. Wait for its next checkpoint."
    )


def _copy_of(store: Store, commit: Commit) -> Path:
    address = hashlib.sha256(store.address.encode()).hexdigest()[:24]
    return kept_entry(
        f"run-{address}-{commit.number:08d}",
        sum(item.num_bytes for item in commit.files.values()),
        lambda partial: fetch_commit(store, commit, partial),
        lambda path: all(
            _has(path / name, item) for name, item in commit.files.items()
        ),
    )


def fetch_commit(store: Store, commit: Commit, folder: Path) -> None:
    """Makes a folder equal to a commit; files that it has already stay."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in commit.files and name != LOCK_FILE:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    folder.mkdir(parents=True, exist_ok=True)
    for name, item in commit.files.items():
        target = folder / name
        if _has(target, item):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(target)
        store.fetch(item.name, partial, item.num_bytes, item.sha256)
        os.replace(partial, target)


class CommittedFolder:
    """A local folder whose states one process commits to an address.

    Attributes:
        address: the address.
        folder: the local folder, below the cache.
    """

    def __init__(self, address: str, where: str):
        """Names the local folder; nothing is sent yet.

        Raises:
            UserError: when nothing can be committed to such an address.
        """
        self._where = where
        self._store = Store(address, where)
        self.address = self._store.address
        if self._store.scheme not in CREATING:
            raise UserError(
                f"{where}: received {address}; allowed: {', '.join(CREATING)} or a "
                "path. Other stores do not keep two trainings from writing into one "
                "address."
            )
        digest = hashlib.sha256(self.address.encode()).hexdigest()[:24]
        name = self.address.rpartition("/")[2]
        self.folder = remote_folder() / "runs" / f"{name}-{digest}"
        self._writer = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "token": uuid.uuid4().hex,
        }
        self._last = Commit(0, self._writer)
        self._first = 0
        # State on the disk and object of the files of the last commit.
        self._known: dict[str, tuple[tuple[int, ...], Object]] = {}

    def open(self, resume: bool) -> None:
        """Makes the folder equal to the last commit, and begins to write.

        The caller has locked the folder against other processes of this machine.

        Raises:
            UserError: when a new folder is to be opened where there is one; or the
                store cannot be used, or creates objects that are there.
        """
        last = newest_commit(self._store)
        if not resume and last is not None and last.files:
            raise UserError(
                f"{self.address} already exists. Add --resume to go on with that run, "
                "after its end with a larger train.iterations; or choose another "
                f"address with {self._where}."
            )
        last = last or Commit(0, self._writer)
        if resume and not last.files:
            raise UserError(
                f"Nothing to resume in {self.address}: no checkpoint was committed "
                "there. Leave out --resume to start a new run there."
            )
        fetch_commit(self._store, last, self.folder)
        self._last = last
        self._create(last.files)
        self._first = self._last.number
        # Stores that do not know the condition would make the object again.
        other = Commit(self._first, {**self._writer, "token": "trial"}).to_bytes()
        if self._store.create(_record_name(self._first), other):
            raise UserError(
                f"{self._where}: the store of {self.address} replaces objects that are "
                "to be new, so that nothing would keep two trainings from writing "
                "there. Use a path, or a store with conditional writes."
            )
        self._remove_unnamed()

    def commit(self) -> None:
        """Commits the present state of the folder.

        Raises:
            RemoteError: when another process has begun to write there, or the store
                cannot be written; the last commit is whole.
        """
        files, states = {}, {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not _is_passed_over(name):
                states[name] = _state(path)  # before it is read
                state, stored = self._known.get(name, (None, None))
                if stored is None or state != states[name]:
                    stored = self._stored(name, path)
                files[name] = stored
        before = self._last
        self._known = {name: (state, files[name]) for name, state in states.items()}
        if dict(before.files) == files:
            return
        self._create(files)
        kept = {item.name for item in files.values()}
        gone = [item.name for item in before.files.values() if item.name not in kept]
        self._store.remove(gone)

    def _stored(self, name: str, path: Path) -> Object:
        """Returns the object of a file, which is written unless the last commit has it.

        Logs may grow meanwhile, so that the object is made of a copy.
        """
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=self.folder) as temporary:
            copy = Path(temporary) / "copy"
            shutil.copyfile(path, copy)
            digest, num_bytes = file_sha256(copy), copy.stat().st_size
            before = self._last.files.get(name)
            if before is not None and before.sha256 == digest:
                return before
            # The number is that of this process, so that none removes another's.
            stored = f"{_OBJECTS}{name}/{self._first:08d}-{digest[:16]}"
            self._store.put(stored, copy)
        return Object(stored, num_bytes, digest)

    def _create(self, files: Mapping[str, Object]) -> None:
        commit = Commit(self._last.number + 1, self._writer, files)
        name = _record_name(commit.number)
        if not self._store.create(name, commit.to_bytes()):
            other = json.loads(self._store.read(name)).get("writer", {})
            raise RemoteError(
                f"{self.address} is being written by process {other.get('pid', '?')} "
                f"on {other.get('host', 'an unknown machine')} since "
                f"{other.get('since', '?')}, so that this one stops. What is committed "
                "there is whole; stop that process, and add --resume, or choose "
                f"another address with {self._where}."
            )
        self._last = commit

    def _remove_unnamed(self) -> None:
        """Removes objects of no commit, which killed processes left."""
        kept = {item.name for item in self._last.files.values()}
        self._store.remove(
            name
            for name in self._store.list()
            if name.startswith(_OBJECTS) and name not in kept
        )


def _record_name(number: int) -> str:
    return f"{_COMMITS}{number:08d}.json"


def _has(path: Path, item: Object) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == item.num_bytes
        and file_sha256(path) == item.sha256
    )


def _state(path: Path) -> tuple[int, ...]:
    """Returns numbers that are others after a file was written again."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _is_passed_over(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] == LOCK_FILE or any(part.startswith(PARTIAL) for part in parts)


def _is_safe(name: str) -> bool:
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name
