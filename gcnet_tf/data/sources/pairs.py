"""Pairs of image and label, and the search for pairs by name in two folders."""

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from os.path import splitext
from pathlib import Path
from typing import Final

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.compact import Names, Row, Rows, View, in_order
from gcnet_tf.data.sources.exports.drawn import Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, image_names, label_names
from gcnet_tf.errors import UserError, some
from gcnet_tf.files.names import composed

# The splits of every data set.
SPLITS: Final = ("train", "val")


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        name: the image's file name without its ending, like "sub/name" in a sub-folder;
            unique within the split.
        image: path of the image.
        label: path of the label, a PNG or an SBD .mat file; or a label that is drawn
            from annotations.
        facts: facts for reading the label, if they differ from the rest of the split.
    """

    name: str
    image: Path
    label: Path | Drawn
    facts: DatasetFacts | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the image and its label are read from."""
        if isinstance(self.label, Path):
            return self.image, self.label
        return (self.image, *self.label.files)


class Files(Mapping[str, Path]):
    """Files of a folder by their names, in the order of the names, in a few bytes each.

    Args:
        folder: the folder.
        rows: name and path in the folder of each, in order.
    """

    def __init__(self, folder: Path, rows: Iterable[Row] = ()) -> None:
        self.folder = folder
        self.rows = Rows(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return map(itemgetter(0), self.rows)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.rows.find(name) is not None

    def __getitem__(self, name: str) -> Path:
        row = self.rows.find(name)
        if row is None:
            raise KeyError(name)
        return self.folder / row[1]


def read_names(path: Path) -> Names:
    """Reads the names in a list like VOC's, one per line.

    Names are returned with composed accents, as those of `by_stem`.

    Raises:
        UserError: when the list is missing or empty, or has a name twice.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; it lists the images of its split.")
    rows = Rows(in_order((composed(line),) for line in lines_of_files(path) if line))
    if not rows:
        raise UserError(f"{path} is empty; it lists the images of its split.")
    repeated = Names(row[0] for row, next_ in pairwise(rows) if row == next_)
    if repeated:
        raise UserError(f"{path} lists {some(repeated)} more than once.")
    return Names(row[0] for row in rows)


def lines_of_files(path: Path) -> Iterator[str]:
    """Yields the lines of a list of files, stripped; there may be millions.

    Names of files may be any bytes.

    Raises:
        UserError: when the list cannot be read, or is no UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in file:
                if "\0" in line:
                    raise ValueError("it may be UTF-16; save it as UTF-8")
                yield from (part.strip() for part in line.splitlines())
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path} as UTF-8 text: {error}.") from None


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file, stripped, without empty lines at its end.

    Raises:
        UserError: when the file cannot be read as UTF-8.
    """
    try:
        # utf-8-sig, because editors on Windows put a byte order mark in front.
        text = path.read_bytes().decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("it may be UTF-16; save it as UTF-8")
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path} as UTF-8 text: {error}.") from None
    return [line.strip() for line in text.rstrip().splitlines()]


def match_stems(images: Path, labels: Path) -> View[Pair]:
    """Pairs the files below two folders by their names without the ending.

    Raises:
        UserError: when a file has no partner in the other folder, or when a folder is
            missing.
    """
    for folder in (images, labels):
        require_folder(folder)
    return match(by_stem(image_names(images), images), labels_by_stem(labels))


def labels_by_stem(folder: Path) -> Files:
    """Returns the PNGs below a folder by their names without the ending.

    Raises:
        UserError: when two files differ only in their ending.
    """
    return by_stem(label_names(folder), folder)


def by_stem(paths: Iterable[str], folder: Path) -> Files:
    """Returns files by their names in a folder without the ending, like "sub/name".

    Raises:
        UserError: when two files differ only in their ending.
    """
    return named_files(((stem(path), path) for path in paths), folder)


def by_ending(paths: Iterable[str], folder: Path, ending: str) -> Files:
    """Returns the files with an ending, by the rest of their names without folders.

    Raises:
        UserError: when two folders have a file of the same name.
    """
    chosen = (path for path in paths if path.endswith(ending))
    rows = (
        (composed(path.rpartition("/")[2].removesuffix(ending)), path)
        for path in chosen
    )
    return named_files(rows, folder)


def stem(path: str) -> str:
    """Returns a file's path in a folder as `name_in` does."""
    return composed(splitext(path)[0])


def name_in(folder: Path, path: Path) -> str:
    """Returns the name of a file in a folder without the ending, like "sub/name".

    Accents are composed: an image from Windows belongs to the label that macOS wrote.
    """
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def named_files(rows: Iterable[Row], folder: Path) -> Files:
    """Returns files by names that no two of them may share.

    Args:
        rows: name and path in the folder of each file.
        folder: the folder.

    Raises:
        UserError: when two do.
    """
    return Files(folder, _distinct(in_order(rows), folder))


def _distinct(rows: Iterable[Row], folder: Path) -> Iterator[Row]:
    last = None
    for row in rows:
        if last and row[0] == last[0]:
            both = [last[1], row[1]]
            difference = "the ending or the folder"
            if composed(both[0]) == composed(both[1]):
                both = [f"{name} ({_form(name)})" for name in both]
                difference = "the form of their accents"
            raise UserError(
                f"{' and '.join(both)} in {folder} differ only in {difference}, so "
                "that they would share a label; rename one of them."
            )
        yield row
        last = row


def _form(name: str) -> str:
    return "composed" if name == composed(name) else "decomposed"


def only(names: Container[str], files: Files) -> Files:
    """Returns the files that have one of the names."""
    return Files(files.folder, (row for row in files.rows if row[0] in names))


def joined(image_of: Files, label_of: Files) -> Iterator[tuple[str, str, str]]:
    """Yields each name in order, with the paths of its image and its label.

    A path that the name does not have is "".
    """
    images = ((name, 1, path) for name, path in image_of.rows)
    labels = ((name, 2, path) for name, path in label_of.rows)
    rows = groupby(heapq.merge(images, labels), itemgetter(0))
    folders = {1: f"{image_of.folder}/", 2: f"{label_of.folder}/"}
    for name, parts in rows:
        path_of = {kind: folders[kind] + path for _, kind, path in parts}
        yield name, path_of.get(1, ""), path_of.get(2, "")


def paired(rows: Sequence[Row], facts: DatasetFacts | None = None) -> View[Pair]:
    """Returns the pairs of a name, an image's path and a label's path each."""
    return View(rows, lambda row: Pair(row[0], Path(row[1]), Path(row[2]), facts))


def match(image_of: Files, label_of: Files) -> View[Pair]:
    """Pairs image and label files by name; every file needs a partner.

    Raises:
        UserError: when an image has no label or a label no image.
    """
    images, labels = image_of.folder, label_of.folder
    if not image_of:
        raise no_images(images)
    pairs, unlabelled, unused = Rows(), Rows(), Rows()
    for row in joined(image_of, label_of):
        (pairs if row[1] and row[2] else unlabelled if row[1] else unused).append(row)
    if unlabelled:
        raise UserError(
            f"{count(unlabelled, 'image')} in {images} without a label: "
            f"{some(Path(row[1]).name for row in unlabelled)}. A label is a PNG "
            f"with the image's name in {labels}; add the labels or move the images "
            "away."
        )
    if unused:
        raise UserError(
            f"{count(unused, 'label')} in {labels} without an image in {images}: "
            f"{some(Path(row[2]).name for row in unused)}. Add the images or move "
            "the labels away."
        )
    return paired(pairs)


def no_images(folder: Path) -> UserError:
    """Returns the error for a folder without images."""
    endings = ", ".join(sorted(IMAGE_SUFFIXES))
    return UserError(f"No images in {folder}; looked for files ending in {endings}.")


def require_folder(folder: Path) -> None:
    """Checks that a folder exists.

    Raises:
        UserError: when it does not exist or is not a folder.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"The folder {folder} {state}; check data.root and the split.")


def count(items: Sized, noun: str) -> str:
    """Returns the number of items with noun and verb: "1 image is", "2 images are"."""
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"
