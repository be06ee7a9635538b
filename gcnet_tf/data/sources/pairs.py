"""A pair of image and label, and finding pairs by their names in two folders."""

from dataclasses import dataclass
from pathlib import Path

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.errors import UserError, some

# In lower case; files may spell them in any case.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
LABEL_SUFFIXES = frozenset({".png"})


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        name: unique within the split; the image's file name without its ending.
        image: path of the image.
        label: path of the label, a PNG or an SBD .mat file.
        facts: how to read the label, where that is not as in the rest of the split.
    """

    name: str
    image: Path
    label: Path
    facts: DatasetFacts | None = None


def read_names(path: Path) -> list[str]:
    """The sorted names in a list as VOC's, one per line.

    Raises:
        UserError: when there are none, or one stands there twice.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; it lists the images of its split.")
    names = sorted(line for line in read_lines(path) if line)
    if not names:
        raise UserError(f"{path} is empty; it lists the images of its split.")
    repeated = sorted({a for a, b in zip(names, names[1:]) if a == b})
    if repeated:
        raise UserError(f"{path} lists {some(repeated)} more than once.")
    return names


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones at its end.

    Raises:
        UserError: when the file cannot be read as UTF-8.
    """
    try:
        # utf-8-sig: editors on Windows put a byte order mark in front.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {path} as UTF-8 text: {error}.") from None
    return [line.strip() for line in text.rstrip().splitlines()]


def match_stems(images: Path, labels: Path) -> list[Pair]:
    """Pairs the files of two folders by their names without the ending.

    Raises:
        UserError: when a file of the one has none in the other, or a folder is missing.
    """
    for folder in (images, labels):
        require_folder(folder)
    return match(
        by_stem(images, IMAGE_SUFFIXES),
        by_stem(labels, LABEL_SUFFIXES),
        images,
        labels,
    )


def by_stem(
    folder: Path, suffixes: frozenset[str], nested: bool = False
) -> dict[str, Path]:
    """The files that end so, by their names without the ending.

    Args:
        folder: where they lie.
        suffixes: endings in lower case.
        nested: look into sub-folders, too; the names then are like "sub/name".

    Raises:
        UserError: when two differ in their ending only.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*") if nested else folder.iterdir()):
        # macOS leaves hidden ._NAME.jpg files that are not images.
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(
                f"{found[name].name} and {path.name} in {folder} have the same "
                "name but for the ending, so that they would share a label; rename one."
            )
        found[name] = path
    return found


def match(
    image_of: dict[str, Path], label_of: dict[str, Path], images: Path, labels: Path
) -> list[Pair]:
    """Pairs files by their keys; none may be left over.

    Args:
        image_of: image files by name.
        label_of: label files by name.
        images: their folder, for messages.
        labels: their folder, for messages.

    Raises:
        UserError: when an image has no label or a label no image.
    """
    if not image_of:
        raise no_images(images)
    unlabelled = sorted(set(image_of) - set(label_of))
    if unlabelled:
        raise UserError(
            f"{count(unlabelled, 'image')} in {images} without a label: "
            f"{some(image_of[name].name for name in unlabelled)}. A label is a PNG of "
            f"the image's name in {labels}; add the labels or move the images away."
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
    """The error for a folder without images."""
    endings = ", ".join(sorted(IMAGE_SUFFIXES))
    return UserError(f"No images in {folder}; looked for files ending in {endings}.")


def require_folder(folder: Path) -> None:
    """Raises a `UserError` when there is no such folder."""
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"The folder {folder} {state}; check data.root and the split.")


def count(items: list[str], noun: str) -> str:
    """A number with its noun and verb: "1 image is", "2 images are"."""
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"
