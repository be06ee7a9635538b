"""Pairs of image and label, and the search for pairs by name in two folders."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.sources.exports.drawn import Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, image_files, label_files
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


def read_names(path: Path) -> list[str]:
    """Reads the names in a list like VOC's, one per line, and sorts them.

    Names are returned with composed accents, as those of `name_in`.

    Raises:
        UserError: when the list is missing or empty, or has a name twice.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; it lists the images of its split.")
    names = sorted(composed(line) for line in read_lines(path, of_files=True) if line)
    if not names:
        raise UserError(f"{path} is empty; it lists the images of its split.")
    repeated = sorted({name for name, next_ in zip(names, names[1:]) if name == next_})
    if repeated:
        raise UserError(f"{path} lists {some(repeated)} more than once.")
    return names


def read_lines(path: Path, of_files: bool = False) -> list[str]:
    """Reads the lines of a text file, stripped, without empty lines at its end.

    Args:
        path: the text file.
        of_files: whether the lines are names of files, which may be any bytes.

    Raises:
        UserError: when the file cannot be read as UTF-8.
    """
    try:
        # utf-8-sig, because editors on Windows put a byte order mark in front.
        text = path.read_bytes().decode(
            "utf-8-sig", "surrogateescape" if of_files else "strict"
        )
        if "\0" in text:
            raise ValueError("it may be UTF-16; save it as UTF-8")
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path} as UTF-8 text: {error}.") from None
    return [line.strip() for line in text.rstrip().splitlines()]


def match_stems(images: Path, labels: Path) -> list[Pair]:
    """Pairs the files below two folders by their names without the ending.

    Raises:
        UserError: when a file has no partner in the other folder, or when a folder is
            missing.
    """
    for folder in (images, labels):
        require_folder(folder)
    return match(
        by_stem(image_files(images), images),
        by_stem(label_files(labels), labels),
        images,
        labels,
    )


def by_stem(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Returns files by their names in a folder without the ending, like "sub/name".

    Raises:
        UserError: when two files differ only in their ending.
    """
    return named_files(files, folder, lambda path: name_in(folder, path))


def by_ending(files: Iterable[Path], folder: Path, ending: str) -> dict[str, Path]:
    """Returns the files with an ending, by the rest of their names without folders.

    Raises:
        UserError: when two folders have a file of the same name.
    """
    chosen = (path for path in files if path.name.endswith(ending))
    return named_files(
        chosen, folder, lambda path: composed(path.name.removesuffix(ending))
    )


def name_in(folder: Path, path: Path) -> str:
    """Returns the name of a file in a folder without the ending, like "sub/name".

    Accents are composed: an image from Windows belongs to the label that macOS wrote.
    """
    return composed(path.relative_to(folder).with_suffix("").as_posix())


def named_files(
    paths: Iterable[Path], folder: Path, name_of: Callable[[Path], str]
) -> dict[str, Path]:
    """Returns files by names that no two of them may share.

    Raises:
        UserError: when two do.
    """
    files: dict[str, Path] = {}
    for path in paths:
        first = files.setdefault(name_of(path), path)
        if first != path:
            both = [str(file.relative_to(folder)) for file in (first, path)]
            difference = "the ending or the folder"
            if composed(both[0]) == composed(both[1]):
                both = [f"{name} ({_form(name)})" for name in both]
                difference = "the form of their accents"
            raise UserError(
                f"{' and '.join(both)} in {folder} differ only in {difference}, so "
                "that they would share a label; rename one of them."
            )
    return files


def _form(name: str) -> str:
    return "composed" if name == composed(name) else "decomposed"


def only(names: Collection[str], files: dict[str, Path]) -> dict[str, Path]:
    """Returns the files that have one of the names."""
    return {name: path for name, path in files.items() if name in names}


def match(
    image_of: dict[str, Path], label_of: dict[str, Path], images: Path, labels: Path
) -> list[Pair]:
    """Pairs image and label files by name; every file needs a partner.

    Args:
        image_of: image files by name.
        label_of: label files by name.
        images: folder of the images, for messages.
        labels: folder of the labels, for messages.

    Raises:
        UserError: when an image has no label or a label no image.
    """
    if not image_of:
        raise no_images(images)
    unlabelled = sorted(set(image_of) - set(label_of))
    if unlabelled:
        raise UserError(
            f"{count(unlabelled, 'image')} in {images} without a label: "
            f"{some(image_of[name].name for name in unlabelled)}. A label is a PNG "
            f"with the image's name in {labels}; add the labels or move the images "
            "away."
        )
    unused = sorted(set(label_of) - set(image_of))
    if unused:
        raise UserError(
            f"{count(unused, 'label')} in {labels} without an image in {images}: "
            f"{some(label_of[name].name for name in unused)}. Add the images or move "
            "the labels away."
        )
    return [Pair(name, image_of[name], label_of[name]) for name in sorted(image_of)]


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


def count(items: list[str], noun: str) -> str:
    """Returns the number of items with noun and verb: "1 image is", "2 images are"."""
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"
