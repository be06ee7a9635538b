"""A lock on a file or folder, so that only one process at a time writes it.

The lock is a file beside it, NAME.lock, or a file in it where a folder is all that can
be written, such as a mounted volume. It is made by O_EXCL, which works on disks without
file locks. It names its owner. A lock is stale, and the next process takes it
over, when

- its owner ran on this machine and has ended, or
- its owner runs on another machine, and has not touched the file for two minutes; the
  owner touches it every 15 seconds.
"""

import json
import math
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import PARTIAL
from gcnet_tf.files.remote.addresses import require_local

# Name of the lock in a folder.
LOCK_FILE = ".lock"
_TOUCH_SECONDS = 15.0
_STALE_SECONDS = 120.0
# Each attempt but the last has removed a stale lock, or waited for one that does.
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.02


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes that use this function from writing `path`.

    Makes the folder of `path` if missing.

    Raises:
        UserError: when another process holds the lock, or the file cannot be made.
    """
    require_local(path, "The place to write")
    path = path.resolve()
    lock = _lock_of(path)
    text = json.dumps(_this_process())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, text, path)
    except OSError as error:
        raise UserError(f"Cannot make the lock {lock}: {error}") from error
    ended = threading.Event()
    threading.Thread(target=_touch, args=(lock, text, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if _read(lock) == text:
            lock.unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        return path / LOCK_FILE
    return path.with_name(f"{path.name}.lock")


def _acquire(lock: Path, text: str, path: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            owner_text = _read(lock)
            if owner_text is not None and not _is_stale(lock, owner_text):
                break
            _remove(lock, owner_text)
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return
    owner = _owner(_read(lock))
    raise UserError(
        f"{path} is being written by process {owner.get('pid', '?')} on "
        f"{owner.get('host', 'an unknown machine')} since {owner.get('since', '?')}. "
        "Wait until it ends, stop it, or choose another folder. If it has died, delete "
        f"{lock}."
    )


def _remove(lock: Path, stale_text: str | None) -> None:
    """Removes a stale lock, unless another process has taken it over meanwhile.

    A folder beside it, which one process at a time can make, stands for the leave to
    remove: between reading a lock and removing it nobody else may put his own there.
    """
    leave = lock.with_name(f"{PARTIAL}{lock.name}")
    try:
        leave.mkdir()
    except FileExistsError:
        # Another process is at it, or has died there.
        time.sleep(_PAUSE_SECONDS)
        if _silence(leave) > _STALE_SECONDS:
            with suppress(OSError):
                leave.rmdir()
        return
    try:
        if stale_text is not None and _read(lock) == stale_text:
            lock.unlink(missing_ok=True)
    finally:
        leave.rmdir()


def _is_stale(lock: Path, text: str) -> bool:
    owner = _owner(text)
    if owner.get("machine") == (machine := _machine()) and machine:
        return _start_of(owner["pid"]) != owner["start"]
    return _silence(lock) > _STALE_SECONDS


def _silence(path: Path) -> float:
    """Returns the seconds since a file or folder was touched; inf when it is gone."""
    try:
        # The clock of the disk, which may differ from that of this machine.
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _touch(lock: Path, text: str, ended: threading.Event) -> None:
    while not ended.wait(_TOUCH_SECONDS):
        try:
            if _read(lock) == text:
                os.utime(lock)
        except OSError:
            pass  # the disk may be away for a moment


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "start": _start_of(os.getpid()),
        "machine": _machine(),
        "token": uuid.uuid4().hex,
    }


def _machine() -> str:
    """Identifies the machine, its boot and its process ids; "" where that is unknown.

    Containers of one machine may share its name and have process ids of their own.
    """
    try:
        boot = (
            Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        )
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Reads the time at which a process of this machine began; "" if it has ended.

    Numbers of processes are used again; together with this time they are unique.
    """
    try:
        # The name before it may hold spaces and parentheses.
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _read(lock: Path) -> str | None:
    try:
        return lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _owner(text: str | None) -> dict[str, Any]:
    """Parses a lock, which is empty in the moment after it was made."""
    try:
        return dict(json.loads(text or ""))
    except (ValueError, TypeError, RecursionError):
        return {}
