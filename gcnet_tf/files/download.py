"""Downloads of large files, such as checkpoints, that resume after an interruption."""

import fcntl
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tqdm import tqdm

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.address import hidden, is_address, request_for, shown
from gcnet_tf.files.atomic import partial_path

_BLOCK_BYTES = 2**18
_TIMEOUT_SECONDS = 60
# Number of times that one call resumes after a lost connection, while data arrives.
_MAX_TRIES = 20
_HASH_NAMES = {
    "sha256": "SHA-256",
    "sha512": "SHA-512",
    "sha1": "SHA-1",
    "md5": "MD5",
}


def cache_folder() -> Path:
    """Returns the folder for downloads: $GCNET_TF_CACHE or the user's cache folder."""
    if folder := os.environ.get("GCNET_TF_CACHE"):
        return Path(folder)
    user_cache = os.environ.get("XDG_CACHE_HOME")
    return Path(user_cache or Path.home() / ".cache") / "gcnet_tf"


def hash_in_name(name: str) -> str | None:
    """Reads the digits of a SHA-256 in a name such as resnet50-2cccc1ad.pth, if any."""
    match = re.search(r"-([0-9a-f]{8})\.pth$", name)
    return match[1] if match else None


def download(
    url: str, path: Path, digest: str | None = None, allow_mismatch: bool = False
) -> Path:
    """Downloads a file unless it is there; a second call only checks its hash.

    Until it is whole, the file is called partial-NAME. A call that finds a partial file
    resumes at its end, unless the file on the server has changed. Of several processes
    that want the same file, one downloads it and the others wait.

    Args:
        url: http or https address; a user name and a password in it are sent to its
            host, and never shown.
        path: path of the file; missing folders are made.
        digest: the expected SHA-256, or its first digits; also for a file that is
            already there. The prefix "md5:", "sha1:" or "sha512:" names another hash.
        allow_mismatch: only warn when the hash differs.

    Returns:
        `path`.

    Raises:
        UserError: when the file cannot be downloaded, or its hash differs.
    """
    _check_url(url)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _lock(_partial(path)) as file:
                # Another process may have finished the file while this one waited.
                if not path.exists():
                    _fetch(url, path, file)
                    _check_new(url, path, digest, allow_mismatch)
                    _partial(path).replace(path)
                    return path
        _check_present(path, digest, allow_mismatch)
    except OSError as error:
        raise UserError(
            f"Cannot keep {shown(url)} at {path}: {first_line(error)}. Check the free "
            "space and the permissions there, and run again."
        ) from error
    return path


def _check_url(url: str) -> None:
    if not is_address(url):
        raise UserError(
            f"Cannot download {shown(url)!r}: an address must begin with http:// or "
            "https:// and a host, and have no spaces. Give a local file by its path "
            "instead."
        )


def _partial(path: Path) -> Path:
    return partial_path(path)


# The lock


@contextmanager
def _lock(partial: Path) -> Iterator[IO[bytes]]:
    """Opens the partial file to append to it, and locks out other processes."""
    while True:
        with partial.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # While this process waited, another may have moved or removed the file.
            if not _is_open_as(file, partial):
                continue
            try:
                yield file
            finally:
                if _is_open_as(file, partial) and not os.fstat(file.fileno()).st_size:
                    partial.unlink()
                    _version_file(partial).unlink(missing_ok=True)
            return


def _is_open_as(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


# The hash


def _check_present(path: Path, digest: str | None, allow_mismatch: bool) -> None:
    wrong = _mismatch(path, digest)
    if wrong and not allow_mismatch:
        raise UserError(
            f"{path} has {wrong}. Remove the file, so that it is downloaded again."
        )
    if wrong:
        warnings.warn(f"{path} has {wrong}.", stacklevel=2)


def _check_new(url: str, path: Path, digest: str | None, allow_mismatch: bool) -> None:
    wrong = _mismatch(_partial(path), digest)
    if wrong and not allow_mismatch:
        _partial(path).unlink()
        raise UserError(
            f"{shown(url)} gave a file with {wrong}; it was removed. Run again, and if "
            f"the same happens, the server has another file: put the right one at "
            f"{path} by other means."
        )
    if wrong:
        warnings.warn(f"{shown(url)} has {wrong}.", stacklevel=2)


def _mismatch(path: Path, digest: str | None) -> str | None:
    """Describes how a file's hash differs from the expected digits; None if equal."""
    if digest is None:
        return None
    algorithm, _, expected = digest.lower().rpartition(":")
    algorithm = algorithm or "sha256"
    assert re.fullmatch("[0-9a-f]{8,128}", expected), f"{digest} is no hash"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if actual.startswith(expected):
        return None
    return f"the {_HASH_NAMES[algorithm]} {actual}, and {expected} was expected"


# The transfer


class _Cut(Exception):
    """The connection failed, or ended early."""


def _fetch(url: str, path: Path, file: IO[bytes]) -> None:
    """Downloads the missing part of the partial file, as long as data arrives."""
    furthest = file.seek(0, os.SEEK_END)
    for _ in range(_MAX_TRIES):
        try:
            _fetch_once(url, path, file)
            _version_file(_partial(path)).unlink(missing_ok=True)
            return
        except _Cut as cut:
            reason = cut
        if file.tell() <= furthest:
            break
        furthest = file.tell()
    raise UserError(
        f"The download of {shown(url)} failed: {reason}. Check the network and run "
        f"again, it goes on from there; or put the file at {path} by other means."
    )


def _fetch_once(url: str, path: Path, file: IO[bytes]) -> None:
    response, total = _open(url, path, file)
    bar = tqdm(
        total=total,
        initial=file.tell(),
        desc=path.name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None,
    )
    with response, bar:
        while block := _read(response):
            file.write(block)
            bar.update(len(block))
        file.flush()
    if total is not None and file.tell() != total:
        raise _Cut(f"it ended after {file.tell()} of {total} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    # A function of its own, because errors of writing mean something else.
    try:
        return response.read(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(first_line(error)) from error


def _open(
    url: str, path: Path, file: IO[bytes]
) -> tuple[http.client.HTTPResponse, int | None]:
    """Requests the rest of the file, or else all of it.

    Returns:
        The response that continues `file` at its end, and the number of bytes of the
        whole file if the server tells it.
    """
    done = file.seek(0, os.SEEK_END)
    version = _known_version(path, url) if done else None
    range_headers = {}
    if version:
        range_headers = {"Range": f"bytes={done}-", "If-Range": version["validator"]}
    response = _request(url, path, range_headers)
    if version and response and _continues(response, done, version):
        return response, version["total"]
    # A server that has another version by now sends all of it (200), sends nothing
    # (416), or ignores the condition (206).
    if not response or response.status != 200:
        if response:
            response.close()
        response = _request(url, path, {})
    assert response
    file.seek(0)
    file.truncate()
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    _note_version(path, url, response, total)
    return response, total


def _request(
    url: str, path: Path, headers: dict[str, str]
) -> http.client.HTTPResponse | None:
    """Sends a request; returns None when the server does not have the range."""
    # Some servers refuse the user agent of urllib.
    request = request_for(url, {"User-Agent": "gcnet_tf"} | headers)
    response: http.client.HTTPResponse | None = None
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
        status = response.status
    except urllib.error.HTTPError as error:
        error.close()
        status = error.code
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Cut(hidden(str(getattr(error, "reason", error)))) from error
    if "Range" in headers and status == 416:
        return None
    if status != 200 and not ("Range" in headers and status == 206):
        if response is not None:
            response.close()
        raise UserError(_refusal(url, path, status))
    return response


def _refusal(url: str, path: Path, status: int) -> str:
    if status in (401, 403):
        advice = "It is not public: see whether its page asks for an agreement"
    elif status in (404, 410):
        advice = "There is no such file any more: check the address"
    else:
        advice = "Try again later"
    meaning = http.client.responses.get(status, "unknown")
    return (
        f"The server answers {status} ({meaning}) to {shown(url)}. {advice}, or put "
        f"the file at {path} by other means."
    )


# The version of the partial file, so that two versions are never spliced


def _version_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _note_version(
    path: Path, url: str, response: http.client.HTTPResponse, total: int | None
) -> None:
    """Writes down what identifies the file's version, if the server tells it."""
    header = "ETag"
    # A weak ETag, W/"…", does not promise the same bytes.
    if not response.headers.get(header, "").startswith('"'):
        header = "Last-Modified"
    validator = response.headers.get(header)
    version = {
        "url": shown(url),
        "header": header,
        "validator": validator,
        "total": total,
    }
    _version_file(_partial(path)).write_text(json.dumps(version), encoding="utf-8")


def _known_version(path: Path, url: str) -> dict | None:
    """Reads what `_note_version` wrote; None if the download cannot resume."""
    try:
        version = json.loads(_version_file(_partial(path)).read_text(encoding="utf-8"))
        usable = (
            version["url"] == shown(url) and version["validator"] and version["total"]
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if usable else None


def _continues(response: http.client.HTTPResponse, done: int, version: dict) -> bool:
    """Tells whether the response begins at byte `done` of the same version."""
    validator = version["validator"]
    return (
        response.status == 206
        and response.headers.get("Content-Range")
        == f"bytes {done}-{version['total'] - 1}/{version['total']}"
        # Servers may omit the header, because If-Range has compared it already.
        and response.headers.get(version["header"], validator) == validator
    )
