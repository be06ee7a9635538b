"""Exports of annotation tools, as they come: labelme's VOC format and CVAT's masks.

Both have JPEGImages/ and SegmentationClass/ and a text file that names the classes.
Classes are matched by name, so their order in the configuration is free.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from gcnet_tf.data.sources.pairs import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    Pair,
    by_stem,
    count,
    match,
    read_lines,
    read_names,
    require_folder,
)
from gcnet_tf.errors import UserError, some

NAMES_FILES = {"labelme": "class_names.txt", "cvat": "labelmap.txt"}
# What labelme calls pixels that are not labelled; it writes them as 255.
IGNORED_NAME = "__ignore__"

# What people and tools call the two splits, in lower case.
_LIST_NAMES = {"train": ("train",), "val": ("val", "validation")}


@dataclass(frozen=True)
class Export:
    """What an export says about its labels.

    Attributes:
        names: of the ids 0, 1, ...
        colours: in colour-coded masks: (red, green, blue) of the ids; else empty.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = ()


def read_export(dataset: str, root: Path) -> Export:
    """Reads the class names of an export, and their colours in CVAT's.

    Args:
        dataset: "labelme" or "cvat".
        root: the folder with class_names.txt or labelmap.txt.

    Raises:
        UserError: when the file is missing or cannot be understood.
    """
    path = root / NAMES_FILES[dataset]
    if not path.is_file():
        raise UserError(
            f"{path} is missing; an export of {dataset} has it, and it says what the "
            "labels mean."
        )
    lines = [line for line in read_lines(path) if line]
    if dataset == "labelme":
        # It is the id -1, which 8 bits make 255, so the next one is 0.
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
            f"{path} names {len(export.names)} classes; allowed: 1 to 255, one a line."
        )
    return export


def _colour_line(line: str, path: Path) -> tuple[str, tuple[int, int, int]]:
    """Takes "name:red,green,blue:parts:actions" apart."""
    name, _, rest = line.partition(":")
    parts = rest.partition(":")[0].split(",")
    values = [int(part) if part.strip().isdecimal() else 256 for part in parts]
    if not name or len(values) != 3 or max(values) > 255:
        raise UserError(
            f'{path}: received the line "{line}"; allowed: name:red,green,blue:: with '
            "colours of 0 to 255."
        )
    red, green, blue = values
    return name, (red, green, blue)


def class_line(export: Export) -> str:
    """The classes of an export as the line of JSON that a configuration needs."""
    names = [name for name in export.names if name != IGNORED_NAME]
    return f'"classes": {json.dumps(names, ensure_ascii=False)}'


def export_pairs(dataset: str, root: Path, split: str, val_share: float) -> list[Pair]:
    """The pairs of a split, by the export's lists or else by a hash of the name.

    Raises:
        UserError: when a folder is missing, an image has no mask, or the lists do not
            give the split.
    """
    images = root / "JPEGImages"
    if not images.is_dir() and (root / "SegmentationClass").is_dir():
        raise UserError(
            f"{root} has masks, but no folder JPEGImages: export again with the images "
            '("Save images" in CVAT), or put them there.'
        )
    require_folder(images)
    # Some versions of labelme write NumPy arrays to SegmentationClass.
    labels = root / "SegmentationClassPNG"
    if dataset == "cvat" or not labels.is_dir():
        labels = root / "SegmentationClass"
    require_folder(labels)
    image_of = by_stem(images, IMAGE_SUFFIXES, nested=True)
    label_of = by_stem(labels, LABEL_SUFFIXES, nested=True)
    lists = _lists(root / "ImageSets" / "Segmentation")
    listed = _listed(lists, split)
    if listed is None:
        every = {name for path in lists for name in read_names(path)}
        listed = _hashed(every or {*image_of, *label_of}, split, val_share)
    if image_of and not listed:
        raise UserError(
            f"{images} has too few images for a {split} split; add some, or lists "
            "ImageSets/Segmentation/train.txt and val.txt."
        )
    if lists:
        _require_all(listed, image_of, images)
    return match(
        {name: path for name, path in image_of.items() if name in listed},
        {name: path for name, path in label_of.items() if name in listed},
        images,
        labels,
    )


def _lists(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.txt")) if folder.is_dir() else []


def _listed(lists: list[Path], split: str) -> set[str] | None:
    """The names that the lists give a split; None when they do not divide at all."""
    found = {
        known: path
        for path in lists
        for known, spellings in _LIST_NAMES.items()
        if path.stem.lower() in spellings
    }
    if not found:
        return None
    if split not in found:
        raise UserError(
            f"{lists[0].parent} has {some(path.name for path in lists)}, but no list "
            f"{split}.txt. Add it, or rename the others to let data.val_share decide."
        )
    return set(read_names(found[split]))


def _hashed(names: set[str], split: str, val_share: float) -> set[str]:
    """The part of the names that a split gets; with two of them, each gets some.

    The order of the names' hashes does not depend on the machine, and images that are
    added later move few others from one split to the other.
    """
    mixed = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    num_val = round(val_share * len(mixed))
    if 0 < val_share < 1:
        num_val = min(max(num_val, 1), len(mixed) - 1)
    return set(mixed[:num_val] if split == "val" else mixed[num_val:])


def _require_all(names: set[str], image_of: dict[str, Path], images: Path) -> None:
    missing = sorted(names - set(image_of))
    if missing:
        raise UserError(
            f"{count(missing, 'image')} listed in ImageSets/Segmentation but missing "
            f"from {images}: {some(missing)}."
        )
