"""A bounded cache on the local disk of what is read from addresses.

An entry, a file or a folder, never changes: its key names its content. It is made under
a lock of the system, which ends with its process, and gets its name when it is whole.
When the cache is full, those entries go first that were not used for longest; those
that a process reads stay, be it by such a lock or by a hard link.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import PARTIAL, partial_path, to_disk
from gcnet_tf.files.download import cache_folder

# Greatest size in GB (10^9 bytes); by default, the cache leaves a tenth of the disk.
SIZE_VARIABLE = "GCNET_TF_CACHE_GB"
_SHARE_OF_DISK = 0.9
_ENTRIES, _LOCKS = "entries", "locks"
# Entries that this process reads until it ends.
_kept: dict[str, Path] = {}
_stack = ExitStack()
_keeping = threading.Lock()


def remote_folder() -> Path:
    """Returns the folder of all that is kept of addresses."""
    return cache_folder() / "remote"


@contextmanager
def entry(
    key: str,
    num_bytes: int,
    make: Callable[[Path], None],
    is_intact: Callable[[Path], bool],
) -> Iterator[Path]:
    """Provides an entry, which stays while the context lasts.

    Of several processes that want it, one makes it and the others wait.

    Args:
        key: names the content; it can be the name of a file.
        num_bytes: size of a new entry.
        make: writes the file or folder at a path, where there is nothing.
        is_intact: checks an entry that is there.

    Raises:
        UserError: when there is no room for it, or as `make` does.
    """
    path = remote_folder() / _ENTRIES / key
    try:
        for name in (_ENTRIES, _LOCKS):
            (remote_folder() / name).mkdir(parents=True, exist_ok=True)
        lock = _open_lock(key)
    except OSError as error:
        raise _no_cache(error) from error
    try:
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if path.exists() and is_intact(path):
                break
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if path.exists() else 0))
            # Meanwhile, another process may have made it.
            if not (path.exists() and is_intact(path)):
                _remove(path)
                _make(path, num_bytes, lock, make)
        os.utime(path)  # it is the one that was used last
        yield path
    except BlockingIOError as error:
        raise UserError(
            f"{path}, a copy in the cache, has changed on the disk, and another "
            "process reads it. Stop that process, and run again."
        ) from error
    finally:
        os.close(lock)


def kept_entry(
    key: str,
    num_bytes: int,
    make: Callable[[Path], None],
    is_intact: Callable[[Path], bool],
) -> Path:
    """Returns an entry that stays until this process ends; see `entry`."""
    with _keeping:
        if key not in _kept:
            _kept[key] = _stack.enter_context(entry(key, num_bytes, make, is_intact))
        return _kept[key]


def require_room(num_bytes: int) -> None:
    """Checks that the cache may have so many bytes.

    Raises:
        UserError: when it may not; the message says how it may have more.
    """
    remote_folder().mkdir(parents=True, exist_ok=True)
    limit = _limit(sum(_sizes().values()))
    if num_bytes > limit:
        raise UserError(
            f"Reading this takes {num_bytes / 1e9:.3g} GB of the cache "
            f"{remote_folder()}, which may have {limit / 1e9:.3g} GB. Raise the "
            f"variable {SIZE_VARIABLE}, or name a folder on a larger disk in "
            "GCNET_TF_CACHE."
        )


def _make(path: Path, num_bytes: int, lock: int, make: Callable[[Path], None]) -> None:
    """Makes an entry, whose lock is held by the descriptor `lock`."""
    partial = partial_path(path)
    try:
        _remove(partial)
        _reserve(num_bytes, lock)
        make(partial)
        if partial.is_file():
            to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        raise _no_cache(error) from error
    finally:
        _remove(partial)
        os.ftruncate(lock, 0)


def _reserve(num_bytes: int, lock: int) -> None:
    """Removes what was not used for longest, and notes the size of a new entry."""
    require_room(num_bytes)
    with (remote_folder() / "room").open("wb") as room:
        # One process at a time counts, and sees what the others are about to write.
        fcntl.flock(room, fcntl.LOCK_EX)
        sizes = _sizes()
        used = sum(sizes.values())
        limit = _limit(used)
        for path in sorted(sizes, key=_last_use):
            if used + num_bytes > limit and _remove_unused(path):
                used -= sizes[path]
        if used + num_bytes > limit:
            raise UserError(
                f"The cache {remote_folder()} may have {limit / 1e9:.3g} GB, of which "
                f"running processes read {used / 1e9:.3g} GB, and "
                f"{num_bytes / 1e9:.3g} GB more are needed. Wait for them, or raise "
                f"the variable {SIZE_VARIABLE}."
            )
        os.pwrite(lock, str(num_bytes).encode(), 0)


def _sizes() -> dict[Path, int]:
    """Returns the size of each entry, also of those that are being made."""
    entries = remote_folder() / _ENTRIES
    sizes = {path: _size_of(path) for path in entries.glob("*")}
    for lock in (remote_folder() / _LOCKS).glob("*"):
        with suppress(OSError, ValueError):
            if lock.stat().st_size:
                partial = partial_path(entries / lock.name)
                reserved = int(lock.read_bytes())
                sizes[partial] = max(sizes.get(partial, 0), reserved)
    return sizes


def _size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(map(_size_of, path.iterdir()))
    except FileNotFoundError:  # another process has removed it
        return 0


def _limit(used: int) -> float:
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return (shutil.disk_usage(remote_folder()).free + used) * _SHARE_OF_DISK
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise UserError(
            f"The variable {SIZE_VARIABLE}: received {text!r}; allowed: a number of GB "
            "above 0."
        )
    return limit * 1e9


def _remove_unused(path: Path) -> bool:
    """Removes an entry that no process reads or makes; tells whether it is gone."""
    lock = _open_lock(path.name.removeprefix(PARTIAL))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_file() and path.stat().st_nlink > 1:
            return False
        _remove(path)
        os.ftruncate(lock, 0)  # of a process that was killed while making it
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _open_lock(key: str) -> int:
    return os.open(remote_folder() / _LOCKS / key, os.O_CREAT | os.O_RDWR, 0o644)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _no_cache(error: OSError) -> UserError:
    return UserError(
        f"Cannot keep what is read from an address in {remote_folder()}: "
        f"{first_line(error)}. Check the permissions and the free space there, or name "
        "another folder in GCNET_TF_CACHE."
    )
