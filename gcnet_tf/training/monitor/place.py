"""The place of a run: a folder, or an address that its states are committed to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcnet_tf.errors import UserError
from gcnet_tf.files.remote.addresses import is_remote, require_local
from gcnet_tf.files.remote.commits import CommittedFolder


class Place:
    """The place of a run.

    Attributes:
        folder: the folder that the training writes, in the cache for an address.
    """

    def __init__(self, out: str | Path):
        """Looks at a path or address; reads and writes nothing.

        Raises:
            UserError: when a run cannot be at such an address.
        """
        self._committed = CommittedFolder(out, "--out") if is_remote(out) else None
        if self._committed is None:
            require_local(out, "--out")
        self.folder = self._committed.folder if self._committed else Path(out)

    def __str__(self) -> str:
        return self._committed.address if self._committed else str(self.folder)

    def open(self, resume: bool) -> None:
        """Makes the folder of a run at an address equal to what is committed there.

        Raises:
            UserError: see `CommittedFolder.open`.
        """
        if self._committed is not None:
            self._committed.open(resume)

    def commit(self) -> None:
        """Commits the state of the folder to the address, if it is one.

        Raises:
            UserError: see `CommittedFolder.commit`.
        """
        if self._committed is not None:
            self._committed.commit()

    def named(self, text: str) -> str:
        """Puts the address into a text in place of the folder in the cache."""
        return text.replace(str(self.folder), str(self))

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Does so in the messages of errors."""
        try:
            yield
        except UserError as error:
            error.args = tuple(
                self.named(arg) if isinstance(arg, str) else arg for arg in error.args
            )
            raise
