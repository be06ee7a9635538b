"""Files that commands give to the user.

Their places are tried before the work, they are written whole or not at all, and what
fails is told in one sentence.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import new_file
from gcnet_tf.files.names import ESCAPED
from gcnet_tf.files.remote.addresses import require_local


def require_place(path: Path) -> None:
    """Checks, before the work whose result it gets, that a file can be written.

    Nothing is left behind: missing folders are made by `new_result`.

    Raises:
        UserError: when the file cannot be written.
    """
    require_local(path, "The file to write")
    try:
        # A finished file is renamed, which would replace a device such as /dev/stdout.
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is a folder or a device; name a file to write.")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def new_result(path: Path) -> Iterator[Path]:
    """Provides a temporary path as `new_file` does; makes missing folders.

    Raises:
        UserError: when the file cannot be written.
    """
    require_local(path, "The file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial:
            yield partial
    except OSError as error:
        raise cannot_write(path, error) from error


def write_result(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all.

    Raises:
        UserError: when the file cannot be written.
    """
    with new_result(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=ESCAPED)


def cannot_write(path: Path, error: OSError) -> UserError:
    """Makes the sentence about a file that cannot be written."""
    return UserError(
        f"Cannot write {path}: {error.strerror or first_line(error)}. Check the "
        "permissions and the free space there, or name another place."
    )
