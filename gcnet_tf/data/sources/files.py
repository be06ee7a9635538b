"""The files below a folder: images, files that are passed over, and files of no user.

Training, the check of the data and prediction list images by these functions alone.
"""

import os
import warnings
from collections.abc import Collection, Iterator
from os.path import splitext
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
# Files that a warning names.
_NUM_NAMED = 5


def list_files(folder: Path) -> list[Path]:
    """Lists the files below a folder, sorted, at any depth and behind links.

    Hidden files and folders are never data: .ipynb_checkpoints, .DS_Store, Thumbs.db,
    the __MACOSX of an archive and its ._NAME.jpg.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return sorted(folder / name for name in names_below(folder))


def names_below(folder: Path) -> Iterator[str]:
    """Yields what `list_files` lists by its path in the folder, in no order.

    There may be millions, so that nothing is kept of them.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return _below(folder, "", (folder.resolve(),))


def _below(folder: Path, place: str, above: tuple[Path, ...]) -> Iterator[str]:
    folders = []
    for entry in entries(folder / place):
        # A link may have no end, which the entry takes for an error.
        if Path(entry).is_dir() if entry.is_symlink() else entry.is_dir():
            folders.append(place + entry.name)
        else:
            yield place + entry.name
    for name in folders:
        # A link to a folder above it would have no end.
        if (target := (folder / name).resolve()) not in above:
            yield from _below(folder, f"{name}/", (*above, target))


def entries(folder: Path) -> Iterator[os.DirEntry]:
    """Yields what is in a folder, without the hidden.

    Raises:
        UserError: when the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if not (
                    entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS
                ):
                    yield entry
    except OSError as error:
        raise UserError(f"Cannot list {folder}: {error.strerror}.") from None


def sub_folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder; none if it does not exist."""
    found = entries(folder) if folder.is_dir() else ()
    return [entry.name for entry in found if Path(entry).is_dir()]


def has_ending(name: str, endings: Collection[str]) -> bool:
    """Tells whether a file's name has one of some endings, which are in lower case."""
    return splitext(name)[1].lower() in endings


def image_files(folder: Path) -> list[Path]:
    """Lists the images below a folder, and warns of its other files.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return sorted(folder / name for name in image_names(folder))


def image_names(folder: Path, ending: str | None = None) -> Iterator[str]:
    """Yields what `image_files` lists by its path in the folder, in no order.

    Args:
        folder: the folder.
        ending: the end of the images' names; None for the endings of all images.

    Raises:
        UserError: when a folder cannot be listed.
    """
    num_images, num_others = 0, 0
    first_others: list[str] = []
    for name in names_below(folder):
        if name.endswith(ending) if ending else has_ending(name, IMAGE_SUFFIXES):
            num_images += 1
            yield name
        else:
            num_others += 1
            first_others = sorted([*first_others, name], key=_parts)[:_NUM_NAMED]
    if num_images and num_others:
        warnings.warn(
            f"Passed over {num_others} of the {num_images + num_others} files in "
            f"{folder}, because of the endings of their names: "
            f"{some(first_others, total=num_others)}. Convert them to PNG if they are "
            "images, or move them away.",
            stacklevel=3,
        )


def _parts(name: str) -> list[str]:
    return name.split("/")


def label_files(folder: Path) -> list[Path]:
    """Lists the PNGs below a folder.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return sorted(folder / name for name in label_names(folder))


def label_names(folder: Path) -> Iterator[str]:
    """Yields what `label_files` lists by its path in the folder, in no order.

    Raises:
        UserError: when a folder cannot be listed.
    """
    return (name for name in names_below(folder) if has_ending(name, LABEL_SUFFIXES))
