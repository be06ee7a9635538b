"""The files below a folder: images, files that are passed over, and files of no user.

Training, the check of the data and prediction list images by these functions alone.
"""

import os
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from gcnet_tf.errors import UserError, some

# In lower case; the endings of files may have any case.
IMAGE_SUFFIXES = frozenset(
    ".bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)
LABEL_SUFFIXES = frozenset({".png"})

# Files that Windows and macOS put beside others, in lower case.
_OF_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def list_files(folder: Path) -> list[Path]:
    """Lists the files below a folder, sorted, at any depth and behind links.

    Hidden files and folders are never data: .ipynb_checkpoints, .DS_Store, Thumbs.db,
    the __MACOSX of an archive and its ._NAME.jpg.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return sorted(_below(folder, (folder.resolve(),)))


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    try:
        paths = [Path(entry) for entry in os.scandir(folder)]
    except OSError as error:
        raise UserError(f"Cannot list {folder}: {error.strerror}.") from None
    for path in paths:
        if _is_hidden(path):
            continue
        if not path.is_dir():
            yield path
        # A link to a folder above it would have no end.
        elif (target := path.resolve()) not in above:
            yield from _below(path, (*above, target))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _OF_SYSTEMS


def sub_folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder; none if it does not exist."""
    paths = folder.iterdir() if folder.is_dir() else []
    return [path.name for path in paths if path.is_dir() and not _is_hidden(path)]


def image_files(folder: Path) -> list[Path]:
    """Lists the images below a folder, and warns of its other files.

    Raises:
        UserError: when a folder cannot be listed.
    """
    files = list_files(folder)
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    warn_of_others(folder, files, images)
    return images


def label_files(folder: Path) -> list[Path]:
    """Lists the PNGs below a folder.

    Raises:
        UserError: when a folder cannot be listed.
    """
    files = list_files(folder)
    return [path for path in files if path.suffix.lower() in LABEL_SUFFIXES]


def warn_of_others(folder: Path, files: list[Path], images: Collection[Path]) -> None:
    """Warns of the files that are not among the images, if there are images at all."""
    others = sorted(set(files).difference(images))
    if images and others:
        names = some(str(path.relative_to(folder)) for path in others)
        warnings.warn(
            f"Passed over {len(others)} of the {len(files)} files in {folder}, because "
            f"of the endings of their names: {names}. Convert them to PNG if they are "
            "images, or move them away.",
            stacklevel=3,
        )
