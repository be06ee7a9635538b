"""The contents of an export: class names, and the images and labels of its parts."""

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gcnet_tf.data.sources.exports.drawn import Drawn
from gcnet_tf.data.sources.pairs import Pair, count
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.files.names import as_on_disk, composed

# Names that tools give to pixels without a shape, in lower case.
BACKGROUND = ("background", "_background_", "__background__", "unlabeled")


# How many JSON files are read to find out what a folder is.
NUM_SNIFFED = 20


@dataclass
class Part:
    """The images of one split of an export.

    Attributes:
        pairs: images with at least one shape, and their labels.
        bare: images without any shape; their labels are background throughout.
        notes: sentences about what is passed over.
    """

    pairs: list[Pair] = field(default_factory=list)
    bare: list[Pair] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, label: Drawn, has_shapes: bool) -> None:
        """Adds an image with its label; the accents of its name are composed."""
        pair = Pair(composed(name), label.image, label)
        (self.pairs if has_shapes else self.bare).append(pair)


@dataclass(frozen=True)
class Contents:
    """The contents of an export.

    Attributes:
        names: class names of the ids 0, 1, ... of the labels.
        parts: the splits; UNDIVIDED stands for images that nothing divides.
        are_names_known: false if the names are made up from the ids.
    """

    names: tuple[str, ...]
    parts: dict[str, Part]
    are_names_known: bool = True


def with_background(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns the class names with the background first, and the id of each name.

    A class that the tool calls background is the class of the pixels without a shape;
    if there is none, "background" is added. Names that repeat are one class.

    Raises:
        UserError: when there are no classes, or too many.
    """
    distinct = list(dict.fromkeys(names))
    own = [name for name in distinct if name.lower() in BACKGROUND][:1]
    ordered = (*(own or ["background"]), *(n for n in distinct if n not in own))
    if not 2 <= len(ordered) <= 255:
        raise UserError(
            f"The export names {len(ordered) - 1} classes besides the background; "
            "allowed: 1 to 254."
        )
    return ordered, {name: index for index, name in enumerate(ordered)}


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: when it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"Cannot read {path} as JSON: {first_line(error)}. The file may be cut "
            "short; export again."
        ) from None


def below(root: Path, base: Path, name: str) -> Path:
    """Returns the path of a file that an export names, which must lie below its root.

    Its accents may have another form on the disk than in the export.

    Args:
        root: folder of the export.
        base: the folder from which the name starts, in or below `root`.
        name: the name in the export, with / or \\.

    Raises:
        UserError: when the name leads out of the folder.
    """
    parts: list[str] = list(base.relative_to(root).parts)
    pure = PurePosixPath(str(name).replace("\\", "/"))
    for part in pure.parts:
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or pure.is_absolute() or part.endswith(":"):
            raise UserError(
                f'The export names the file "{name}", which is outside {root}; allowed '
                "are files below it."
            )
        else:
            parts.append(part)
    return as_on_disk(root.joinpath(*parts))


def require_images(missing: list[str], source: Path, folder: Path) -> None:
    """Checks that an export names no image that is not there.

    Raises:
        UserError: when there are some, with the first names.
    """
    if missing:
        raise UserError(
            f"{count(missing, 'image')} named in {source} but missing below {folder}: "
            f"{some(missing)}. Export again with the images, or put them there."
        )


def stated_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Returns the size that an export states; None for 0 or nothing."""
    return (height, width) if height and width else None


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: "1 box", "2 shapes"."""
    plural = f"{noun}es" if noun.endswith("x") else f"{noun}s"
    return f"1 {noun}" if number == 1 else f"{number} {plural}"


def warn_of_notes(part: Part, leave_out: bool) -> None:
    """Warns of what is passed over in a part, and of its images without a shape."""
    notes = list(part.notes)
    if part.bare:
        are_left_out = "are left out" if leave_out else "count as background"
        other = "background" if leave_out else "leave_out"
        notes.append(
            f"{counted(len(part.bare), 'image')} without a single shape {are_left_out}:"
            f" {some(pair.image.name for pair in part.bare)}; --set "
            f"data.without_shapes={other} changes this."
        )
    for note in notes:
        warnings.warn(note, stacklevel=3)


def flat_points(points: Iterable[Iterable[float]]) -> Iterator[float]:
    """Joins points x, y to the flat sequence that a canvas takes."""
    for x, y in points:
        yield from (x, y)
