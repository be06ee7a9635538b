"""Atomic writes: files and folders that are there whole or not at all.

Data is written under a temporary name, then forced to the disk, and only then renamed:
neither a killed process nor a power cut leaves half of a file, or loses the old one.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcnet_tf.files.names import ESCAPED
from gcnet_tf.files.remote.addresses import require_local

# Prefix of the names of all unfinished files and folders. It is no suffix, because a
# suffix often decides the format in which a file is written.
PARTIAL = "partial-"
_REPLACED = "replaced-"

_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# HDF5 and TensorFlow report these errors as text only.
_FULL_TEXTS = tuple(os.strerror(code) for code in _FULL)


def partial_path(path: Path) -> Path:
    """Returns the name that a file or folder has until it is whole."""
    return path.with_name(PARTIAL + path.name)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Provides a temporary path to write, which replaces `path` at the end.

    After an error `path` is unchanged, and the temporary file is removed.

    Raises:
        UserError: when `path` is an address, of which pathlib makes a folder "s3:".
    """
    require_local(path, "The file to write")
    partial = partial_path(path)
    try:
        yield partial
        to_disk(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    to_disk(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Provides an empty temporary folder, which replaces `path` at the end.

    An old folder is moved aside for the moment between two renames. When the process
    dies in this moment, the next `new_folder` of this path first puts it back.

    Raises:
        UserError: as `new_file`.
    """
    require_local(path, "The folder to write")
    partial = partial_path(path)
    replaced = path.with_name(_REPLACED + path.name)
    if replaced.exists() and not path.exists():
        os.replace(replaced, path)
    for left in (partial, replaced):
        shutil.rmtree(left, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        for folder, _, files in os.walk(partial):
            for name in files:
                to_disk(Path(folder, name))
            to_disk(Path(folder))
        if path.exists():
            os.replace(path, replaced)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if replaced.exists() and not path.exists():
            os.replace(replaced, path)
        raise
    to_disk(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder; no process that dies leaves a part of it under this name."""
    partial = partial_path(path)
    os.replace(path, partial)
    shutil.rmtree(partial)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=ESCAPED)


def require_space(path: Path, num_bytes: int) -> None:
    """Checks that a new file of `num_bytes` bytes can be written.

    Raises:
        OSError: when it cannot be written; see `is_disk_full`.
    """
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    finally:
        path.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Tells whether an error, or one that caused it, says that the disk is full.

    A used-up quota and a limit on the size of files count, too.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(text in str(error) for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def to_disk(path: Path) -> None:
    """Forces a file, or the list of names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Network disks such as SMB keep the names of a folder themselves.
        if not (path.is_dir() and error.errno in _UNKNOWN):
            raise
    finally:
        os.close(descriptor)
