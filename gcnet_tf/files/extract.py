"""Safe unpacking of archives from the network, whole or not at all.

An archive's members name their own paths, so each is checked: none may leave the folder
by "..", by an absolute path or by a link. Only files are written; permissions, owners
and devices are ignored.
"""

import fcntl
import lzma
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import partial_path

# Exceptions of the two modules; RuntimeError is that of a zip file with a password.
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError),
    *(OSError, RuntimeError),
)


@dataclass(frozen=True)
class _Member:
    """A member of an archive: a file with its content, a link, or something else.

    Both the name and the target of a link are relative to the archive's top.
    """

    name: str
    file: IO[bytes] | None = None
    target: str | None = None


def extract_folder(archive: Path, top: str, folder: Path) -> None:
    """Unpacks one folder of an archive; until it is whole, it has another name.

    Where `folder` exists already, the function does nothing.

    Args:
        archive: a .tar, .tgz or .zip file.
        top: the folder in the archive, such as "VOCdevkit/VOC2012". Its parents and
            everything beside it are left out.
        folder: the new folder.

    Raises:
        UserError: when the archive is damaged, or has a member that is not allowed.
    """
    partial = partial_path(folder)
    with archive.open("rb") as file:
        # Where another process unpacks it, this one waits, and finds the folder there.
        fcntl.flock(file, fcntl.LOCK_EX)
        if folder.exists():
            return
        if partial.exists():
            shutil.rmtree(partial)  # left by a run that was killed
        partial.mkdir(parents=True)
        try:
            _extract(archive, file, top, partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(folder)


def _extract(archive: Path, file: IO[bytes], top: str, folder: Path) -> None:
    bar = tqdm(
        total=archive.stat().st_size,
        desc=f"unpacking {archive.name}",
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None,
    )
    num_files = 0
    try:
        with bar:
            members = _zip if zipfile.is_zipfile(file) else _tar
            file.seek(0)
            for member in members(file, bar):
                _require_harmless(archive, member)
                inside = posixpath.relpath(member.name, top)
                if member.file and not inside.startswith(".."):
                    _write(member.file, folder / inside)
                    num_files += 1
    except _DAMAGED as error:
        raise UserError(
            f"Cannot unpack {archive} to {folder.parent}: {first_line(error)}. Check "
            "the free space there; if the archive is damaged, remove it and run again."
        ) from error
    if not num_files:
        raise UserError(
            f"{archive} has no folder {top} with files; remove it and run again, or "
            "put the right archive there."
        )


def _write(source: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, 2**18)


def _require_harmless(archive: Path, member: _Member) -> None:
    outside = _leaves(member.name)
    if member.target is not None:
        # Links are never written, so one that stays inside is harmless.
        outside = outside or _leaves(member.target)
    if outside:
        link = "" if member.target is None else f", a link to {member.target!r}"
        raise UserError(
            f"{archive} is not safe to unpack: its member {member.name!r}{link} would "
            "lie outside of the folder. Nothing of it was kept; remove the archive and "
            "get it from its official place."
        )


def _leaves(name: str) -> bool:
    """Tells whether a path is absolute or leads out of its folder."""
    # Backslashes and drives have a meaning on Windows only, and can lead out there.
    if name.startswith("/") or "\\" in name or ":" in name.split("/")[0]:
        return True
    return posixpath.normpath(name).split("/")[0] == ".."


def _pointed(name: str, target: str) -> str:
    """Returns the target of a symbolic link, relative to the archive's top."""
    return posixpath.join(posixpath.dirname(name), target)


def _tar(file: IO[bytes], bar: tqdm) -> Iterator[_Member]:
    """Yields the members of a tar file, with or without gzip, in one pass."""
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for info in tar:
            if info.issym():
                yield _Member(info.name, target=_pointed(info.name, info.linkname))
            elif info.islnk():
                yield _Member(info.name, target=info.linkname)
            else:
                member_file = tar.extractfile(info) if info.isfile() else None
                yield _Member(info.name, member_file)
            bar.update(file.tell() - bar.n)


def _zip(file: IO[bytes], bar: tqdm) -> Iterator[_Member]:
    """Yields the members of a zip file."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                target = archive.open(info).read(4096).decode(errors="replace")
                yield _Member(info.filename, target=_pointed(info.filename, target))
            elif info.is_dir():
                yield _Member(info.filename)
            else:
                with archive.open(info) as member_file:
                    yield _Member(info.filename, member_file)
            bar.update(info.compress_size)
