"""The few requests to an object store that the package makes, by way of fsspec.

A store has neither a rename nor a lock nor an append. It has objects that are there
whole or not at all, and, in S3 and Google Cloud Storage, the creation of an object that
fails when there is one of its name. Only these are used.
"""

import random
import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.remote.addresses import checked_address
from gcnet_tf.files.remote.failures import (
    Incomplete,
    NotThere,
    RemoteError,
    explained,
    passes,
)

_Value = TypeVar("_Value")
_GOOGLES = ("gs", "gcs")
_INSTALL = "pip install 'gcnet_tf[cloud]'"

# A request is made again after errors that pass: at most so often, with pauses that
# double from the first one on.
ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS = 10.0
# Longest silence of a connection.
READ_SECONDS = 60.0


class Entry(NamedTuple):
    """An object: its size in bytes, and a stamp that changes with its content."""

    num_bytes: int
    stamp: str
    changed: float
    """time of the last change, seconds since 1970; 0 where the store has none"""


class Store:
    """The objects whose names begin with an address.

    Attributes:
        address: the address, without a slash at its end.
        scheme: its scheme, such as "s3".
    """

    def __init__(self, address: str, where: str):
        """Opens an address; nothing is sent yet.

        Args:
            address: the address.
            where: names the argument or setting, for messages.

        Raises:
            UserError: when it is malformed, its scheme is unknown, or a package is not
                installed.
        """
        self.address = checked_address(address, where)
        self.scheme, _, self._root = self.address.partition("://")
        self._files = _file_system(self.scheme, where)

    def beside(self, suffix: str) -> "Store":
        """Returns the store whose address is this one's with a suffix."""
        return Store(self.address + suffix, "The address")

    def list(self) -> dict[str, Entry]:
        """Lists all objects below the address, by their names from there on."""
        found = self._do(
            self.address,
            lambda: self._files.find(self._root, detail=True, withdirs=False),
        )
        if not found:
            self._require_bucket()
        prefix = f"{self._root}/"
        return {
            path.removeprefix(prefix): _entry(info)
            for path, info in found.items()
            # Some programs make empty objects that stand for folders.
            if path.startswith(prefix) and not path.endswith("/")
        }

    def entry(self, name: str = "") -> Entry | None:
        """Returns an object's size and stamp; None where there is no such object."""
        path = self._path(name)
        try:
            info = self._do(self._shown(name), lambda: self._files.info(path))
        except NotThere:
            self._require_bucket()
            return None
        return _entry(info) if info.get("type") != "directory" else None

    def read(self, name: str) -> bytes:
        """Reads a small object.

        Raises:
            NotThere: when there is no such object.
        """
        path = self._path(name)

        def whole() -> bytes:
            num_bytes = int(self._files.info(path)["size"])
            content = self._files.cat_file(path)
            if len(content) != num_bytes:
                raise Incomplete(f"{len(content)} of {num_bytes} bytes")
            return content

        return self._do(self._shown(name), whole)

    def fetch(
        self, name: str, path: Path, num_bytes: int, sha256: str | None = None
    ) -> None:
        """Writes an object to a file, which is of no use before this returns.

        Args:
            name: name of the object.
            path: the file; it is replaced.
            num_bytes: size of the object.
            sha256: its hash, where it is known.

        Raises:
            NotThere: when there is no such object.
            RemoteError: when it cannot be read, or has other bytes.
        """

        def whole() -> None:
            self._files.get_file(self._path(name), str(path))
            actual = path.stat().st_size
            if actual != num_bytes:
                raise Incomplete(f"{actual} of {num_bytes} bytes")
            if sha256 is not None and file_sha256(path) != sha256:
                raise Incomplete("its content does not match its checksum")

        self._do(self._shown(name), whole)

    def put(self, name: str, path: Path) -> None:
        """Makes an object of a file, of large ones in several parts; replaces it."""
        num_bytes = path.stat().st_size

        def whole() -> None:
            self._files.put_file(str(path), self._path(name))
            actual = int(self._files.info(self._path(name))["size"])
            if actual != num_bytes:
                raise Incomplete(f"{actual} of {num_bytes} bytes")

        self._do(self._shown(name), whole)

    def write(self, name: str, content: bytes) -> None:
        """Makes a small object; replaces it."""
        path = self._path(name)
        self._do(self._shown(name), lambda: self._files.pipe_file(path, content))

    def create(self, name: str, content: bytes) -> bool:
        """Makes a small object, unless there is one of this name.

        The content must be that of no other process: an answer may be lost after the
        object was made, and the attempt after it then finds its own.

        Returns:
            Whether the object is this one.
        """
        path = self._path(name)
        try:
            self._do(
                self._shown(name),
                lambda: self._files.pipe_file(path, content, mode="create"),
            )
            return True
        except _Exists:
            pass
        return self.read(name) == content

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects, one after the other; those that are missing count, too."""
        for name in names:
            path = self._path(name)
            try:
                self._do(self._shown(name), lambda: self._files.rm_file(path))
            except NotThere:
                pass

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _shown(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    def _require_bucket(self) -> None:
        if not self._has_bucket():
            raise explained(FileNotFoundError(), self.address, bucket_is_there=False)

    def _has_bucket(self) -> bool:
        bucket = self._root.partition("/")[0]
        return self._do(self.address, lambda: bool(self._files.exists(bucket)))

    def _do(self, address: str, request: Callable[[], _Value]) -> _Value:
        """Makes a request, again after errors that pass.

        Raises:
            RemoteError: when the last attempt has failed, too.
            _Exists: when an object is there that was to be new.
        """
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(ATTEMPTS):
            try:
                self._files.invalidate_cache()
                return request()
            except FileExistsError as error:
                raise _Exists(f"{address}: it is there") from error
            # Each store has errors of its own.
            except Exception as error:
                if isinstance(error, UserError):
                    raise
                if _exists_already(error):
                    raise _Exists(f"{address}: it is there") from error
                if attempt + 1 == ATTEMPTS or not passes(error):
                    raise self._sentence(error, address) from error
            # Several processes that were refused together do not come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
        raise AssertionError("unreachable")

    def _sentence(self, error: Exception, address: str) -> RemoteError:
        is_there = True
        if isinstance(error, FileNotFoundError):
            try:
                is_there = bool(self._files.exists(self._root.partition("/")[0]))
            except Exception:  # the first error is the one to tell
                pass
        return explained(error, address, is_there)


class _Exists(RemoteError):
    """An object is there that was to be new."""


def _exists_already(error: Exception) -> bool:
    """Tells whether a condition of a request was not met (status 412)."""
    text = f"{type(error).__name__} {getattr(error, 'code', '')} {error}"
    return "PreconditionFailed" in text or "412" in text.split()


def _entry(info: dict[str, Any]) -> Entry:
    stamp = next(
        (str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime") if key in info),
        "",
    )
    changed: Any = info.get("LastModified") or info.get("mtime") or info.get("updated")
    if isinstance(changed, str):
        from datetime import datetime

        changed = datetime.fromisoformat(changed)
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else 0.0
    return Entry(int(info["size"] or 0), stamp, seconds)


def file_system_class(scheme: str, where: str) -> Any:
    """Returns fsspec's class for a scheme.

    Raises:
        UserError: when the scheme is unknown, or a package is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        raise UserError(
            f"{where}: addresses such as {scheme}:// need packages that are not "
            f"installed: {_INSTALL}"
        ) from error
    try:
        kind = fsspec.get_filesystem_class(scheme)
        if scheme in _GOOGLES:
            return _google_class()
        return kind
    except ValueError as error:
        raise UserError(
            f"{where}: received an address with the unknown scheme {scheme}://; "
            "allowed: s3://, gs://, or another one that an installed fsspec package "
            "knows."
        ) from error
    except ImportError as error:
        raise UserError(
            f"{where}: {scheme}:// needs a package that is not installed "
            f"({first_line(error)}). For s3:// and gs://: {_INSTALL}"
        ) from error


@cache
def _google_class() -> Any:
    """Returns gcsfs' plain class, less its own attempts.

    They are nested, 36 in a row, so that six of ours would take half an hour where a
    store stays away. The class that gcsfs itself names asks for the kind of the bucket
    by gRPC, which takes a right of its own, and minutes where no answer comes.
    """
    plain = import_module("gcsfs.core").GCSFileSystem
    once = {
        name: method.__wrapped__
        for name, method in vars(plain).items()
        if iscoroutinefunction(method) and hasattr(method, "__wrapped__")
    }
    return type("GoogleFileSystem", (plain,), once)


def _file_system(scheme: str, where: str) -> Any:
    """Returns fsspec's file system of a scheme, which makes each request once."""
    kind = file_system_class(scheme, where)
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        options["config_kwargs"] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
    elif scheme in _GOOGLES:
        import aiohttp  # a number would limit the whole transfer

        options["requests_timeout"] = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=READ_SECONDS
        )
    files = kind(**options)
    if scheme in ("s3", "s3a"):
        files.retries = 1
    return files
