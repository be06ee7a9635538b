"""Errors of reading a file, told apart: those of the system, and those of its content.

A disk that fails, or has no file locks, says nothing about the content. So such a file
is never called damaged or of another model, and nothing takes its place.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcnet_tf.errors import UserError, first_line


class CannotRead(UserError):
    """The system could not read a file; its content may be as it should."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns an error of the system, while `path` is read, into `CannotRead`."""
    try:
        yield
    except OSError as error:
        if not is_of_system(error):
            raise
        raise CannotRead(
            f"Cannot read {path}: {first_line(error)}. This says nothing about its "
            "content: check the permissions and the disk, and start again."
        ) from error


def is_of_system(error: Exception) -> bool:
    """Tells whether the system could not read a file, and not that it is damaged."""
    # HDF5 raises errors without a number about a file's content. A damaged zip file
    # leads to a position before its start, which is an invalid argument.
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)
