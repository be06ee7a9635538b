"""Files and folders that are there whole or not at all, and that can be checked.

What is written goes under a temporary name, to the disk, and only then under its own
name: neither a killed process nor a power cut leaves half of it, or loses what was
there before. JSON carries a checksum of itself, so that a changed byte is noticed.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The beginning of the names of all unfinished files and folders: the ending often
# decides how a file is written.
PARTIAL = "partial-"
_REPLACED = "replaced-"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# HDF5 and TensorFlow give it as text only.
_FULL_TEXTS = tuple(os.strerror(number) for number in _FULL)


def partial_path(path: Path) -> Path:
    """Returns the name that a file or folder has until it is whole."""
    return path.with_name(PARTIAL + path.name)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write; at the end it becomes `path`, replacing it.

    After an error `path` is what it was and the temporary file is gone.
    """
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
    """As `new_file`, for a folder, which is there and empty at the start.

    An old folder is moved aside for the moment between two renames; when the process
    dies right there, the next `new_folder` of this path puts it back first.
    """
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
    """Removes a folder; a process that dies meanwhile leaves none of this name."""
    partial = partial_path(path)
    os.replace(path, partial)
    shutil.rmtree(partial)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with new_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def require_space(path: Path, num_bytes: int) -> None:
    """Makes sure that a new file of so many bytes can be written.

    Raises:
        OSError: when it cannot; see `is_disk_full`.
    """
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    finally:
        path.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that nothing more can be written.

    That is a full disk, a used-up quota or a limit on the size of files.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(text in str(error) for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def to_disk(path: Path) -> None:
    """Makes the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
