"""Makers of archives, harmless and hostile ones."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path


def tar_bytes(files, links=(), mode="w"):
    """Returns the bytes of a tar file.

    Args:
        files: (name, content) of each file.
        links: (name, type, target) of each link, which follow the files.
        mode: see `tarfile.open`.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, kind, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return buffer.getvalue()


def zip_bytes(files, links=()):
    """Returns the bytes of a zip file; links are (name, target)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
        for name, target in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return buffer.getvalue()


def folder_files(folder: Path, top: str):
    """Lists (name, content) of all files below a folder, named as if it were `top`."""
    return [
        (f"{top}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
