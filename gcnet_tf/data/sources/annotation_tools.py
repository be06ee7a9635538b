"""Unchanged exports of annotation tools: labelme's VOC format and CVAT's masks.

Both have JPEGImages/, SegmentationClass/ and a text file that names the classes.
Classes are matched by name, so that the configuration may list them in any order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from gcnet_tf.data.compact import Names
from gcnet_tf.data.sources.exports.contents import (
    BACKGROUND,
    Part,
    counted,
    warn_of_notes,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import image_names
from gcnet_tf.data.sources.pairs import (
    Files,
    Pair,
    by_stem,
    count,
    labels_by_stem,
    match,
    only,
    read_lines,
    read_names,
    require_folder,
)
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.data.sources.voc import LISTS
from gcnet_tf.errors import UserError, some

NAMES_FILES = {"labelme": "class_names.txt", "cvat": "labelmap.txt"}
# labelme's name for pixels that are not labelled, which it writes as 255.
IGNORED_NAME = "__ignore__"

# Names that people and tools give to the lists of the two splits, in lower case.
_LIST_NAMES = {"train": ("train",), "val": ("val", "validation")}


@dataclass(frozen=True)
class Export:
    """The classes of an export, as its text file states them.

    Attributes:
        names: class names of the ids 0, 1, ...
        colours: for colour-coded masks: (red, green, blue) of each id; else empty.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = ()


def read_export(dataset: str, root: Path) -> Export:
    """Reads the class names of an export and, for CVAT, their colours.

    Args:
        dataset: "labelme" or "cvat".
        root: the folder with class_names.txt or labelmap.txt.

    Raises:
        UserError: when the file is missing or cannot be understood.
    """
    path = root / NAMES_FILES[dataset]
    if not path.is_file():
        raise UserError(
            f"{path} is missing; an export of {dataset} has this file, which names the "
            "classes. Copy it from the export, or export again."
        )
    lines = [line for line in read_lines(path) if line]
    if dataset == "labelme":
        # The ignored name has the id -1, which is 255 in 8 bits, so the next name has
        # the id 0.
        export = Export(tuple(lines[1:] if lines[:1] == [IGNORED_NAME] else lines))
    else:
        entries = [_colour_line(line, path) for line in lines if line[0] != "#"]
        export = Export(
            tuple(name for name, _ in entries), tuple(colour for _, colour in entries)
        )
    for kind, items in (("name", export.names), ("colour", export.colours)):
        repeated = [item for item in items if items.count(item) > 1]
        if repeated:
            raise UserError(f"{path} has the {kind} {repeated[0]} twice.")
    if not 1 <= len(export.names) <= 255:
        raise UserError(
            f"{path} names {len(export.names)} classes; allowed: 1 to 255, one per "
            "line."
        )
    return export


def _colour_line(line: str, path: Path) -> tuple[str, tuple[int, int, int]]:
    """Reads name and colour from a line "name:red,green,blue:parts:actions"."""
    name, _, rest = line.partition(":")
    parts = rest.partition(":")[0].split(",")
    values = [int(part) if part.strip().isdecimal() else 256 for part in parts]
    if not name or len(values) != 3 or max(values) > 255:
        raise UserError(
            f'{path}: received the line "{line}"; allowed: name:red,green,blue:: with '
            "colours of 0 to 255 each."
        )
    red, green, blue = values
    return name, (red, green, blue)


def class_line(names: Iterable[str]) -> str:
    """Returns the classes of an export as the JSON line that a configuration needs."""
    names = [name for name in names if name != IGNORED_NAME]
    return f'"classes": {json.dumps(names, ensure_ascii=False)}'


def export_pairs(
    dataset: str,
    root: Path,
    split: str,
    val_share: float,
    without_shapes: str = "leave_out",
) -> Sequence[Pair]:
    """Returns the pairs of a split.

    The lists of the export divide the images or, if it has none, a hash of their names.

    Args:
        dataset: "labelme" or "cvat".
        root: folder of the export.
        split: "train" or "val", or one of `export_splits`.
        val_share: share of the images for "val" where no lists divide them; 0 or 1
            gives one split all of them.
        without_shapes: "leave_out" or "background", for CVAT's frames without a mask,
            which are those without a shape.

    Raises:
        UserError: when a folder is missing, when an image of labelme has no mask, or
            when the lists lack the split.
    """
    images = root / "JPEGImages"
    if not images.is_dir() and (root / "SegmentationClass").is_dir():
        raise UserError(
            f"{root} has masks, but no folder JPEGImages. Export again with the images "
            '("Save images" in CVAT), or put the images into that folder.'
        )
    require_folder(images)
    # Some versions of labelme write NumPy arrays to SegmentationClass and the PNGs to
    # this folder.
    labels = root / "SegmentationClassPNG"
    if dataset == "cvat" or not labels.is_dir():
        labels = root / "SegmentationClass"
    require_folder(labels)
    image_of = by_stem(image_names(images), images)
    label_of = labels_by_stem(labels)
    lists = _lists(root)
    listed = _listed(lists, split)
    selected = listed
    if selected is None:
        in_lists = Names(chain.from_iterable(map(read_names, lists)))
        selected = in_lists or Names(chain(image_of, label_of))
    if lists:
        _require_all(selected, image_of, images)
    # CVAT writes no mask for a frame without a shape.
    bare = Names(
        name
        for name in (selected if dataset == "cvat" else ())
        if name in image_of and name not in label_of
    )
    used = selected
    if without_shapes == "leave_out":
        used = Names(name for name in selected if name not in bare)
    if listed is None:
        used = names_of_share(used, split, val_share, images)
    part = _bare_part(root, only(bare, image_of))
    warn_of_notes(part, without_shapes == "leave_out")
    if bare and not used:
        raise UserError(
            f"No image of the split {split} in {images} has a mask; label some, or "
            "take them as background with --set data.without_shapes=background."
        )
    masked = Names(name for name in used if name not in bare)
    pairs = [pair for pair in part.bare if pair.name in used]
    if masked or not bare:
        matched = match(only(masked, image_of), only(masked, label_of))
        # In order already, and perhaps millions.
        if not pairs:
            return matched
        pairs += matched
    return sorted(pairs, key=lambda pair: pair.name)


def _bare_part(root: Path, image_of: Mapping[str, Path]) -> Part:
    """Returns CVAT's frames without a mask, whose labels are the background.

    Raises:
        UserError: when there are some, and labelmap.txt names no background.
    """
    if not image_of:
        return Part()
    names = [name.lower() for name in read_export("cvat", root).names]
    background = [index for index, name in enumerate(names) if name in BACKGROUND]
    if not background:
        raise UserError(
            f"{root / NAMES_FILES['cvat']} names no background, which "
            f"{counted(len(image_of), 'image')} without a mask would be: "
            f"{some(path.name for path in image_of.values())}. Add the line "
            "background:0,0,0::, or move these images away."
        )
    paint = partial(_fill, class_id=background[0])
    return Part(
        bare=[
            Pair(name, image, Drawn(image, (), paint))
            for name, image in sorted(image_of.items())
        ]
    )


def _fill(canvas: Canvas, class_id: int) -> None:
    canvas.ids[:] = class_id


def export_splits(root: Path) -> list[str]:
    """Returns the splits of the lists; none if no list is for "train" or "val".

    Such lists only select images, which `data.val_share` divides, so that a split of
    their own would share its images with "train".
    """
    return list(_split_lists(_lists(root)))


def _lists(root: Path) -> list[Path]:
    return sorted((root / LISTS).glob("*.txt"))


def _split_lists(lists: list[Path]) -> dict[str, Path]:
    """Returns the list of each split; none if there is none for "train" or "val"."""
    split_of = {
        spelling: split for split, names in _LIST_NAMES.items() for spelling in names
    }
    list_of = {split_of.get(path.stem.lower(), path.stem): path for path in lists}
    return list_of if list_of.keys() & _LIST_NAMES.keys() else {}


def _listed(lists: list[Path], split: str) -> Names | None:
    """Returns the names that the lists give a split; None if no list is for a split.

    Raises:
        UserError: when there is a list for another split only.
    """
    list_of = _split_lists(lists)
    if not list_of:
        return None
    if split not in list_of:
        raise UserError(
            f"{lists[0].parent} has {some(path.name for path in lists)}, but no list "
            f"{split}.txt. Add it, or rename the others to let data.val_share decide."
        )
    return read_names(list_of[split])


def _require_all(names: Names, image_of: Files, images: Path) -> None:
    missing = Names(name for name in names if name not in image_of)
    if missing:
        raise UserError(
            f"{count(missing, 'image')} listed in ImageSets/Segmentation but missing "
            f"from {images}: {some(missing)}."
        )
