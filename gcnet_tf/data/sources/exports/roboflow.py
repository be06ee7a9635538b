"""Roboflow's semantic masks: NAME_mask.png beside NAME.jpg, and _classes.csv.

The CSV file, "Pixel Value, Class", lies in each of the folders train, valid and test.
Roboflow's COCO export is read as COCO.
"""

import csv
from pathlib import Path

from gcnet_tf.data.sources.arranged import beside_places, list_place
from gcnet_tf.data.sources.exports.contents import Contents, Part
from gcnet_tf.data.sources.pairs import match, read_lines
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.errors import UserError

_NAMES_FILE = "_classes.csv"


def roboflow_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is Roboflow's, in words."""
    for folder, _ in beside_places(root).values():
        if (folder / _NAMES_FILE).is_file():
            return f"{(folder / _NAMES_FILE).relative_to(root)} names the classes"
    return None


def read_roboflow(root: Path) -> Contents:
    """Reads the folders of an export of masks.

    Raises:
        UserError: when the names are missing or differ, or an image has no mask.
    """
    parts: dict[str, Part] = {}
    name_of: dict[int, str] = {}
    for name, (folder, _) in beside_places(root).items():
        names_file = folder / _NAMES_FILE
        if not names_file.is_file():
            raise UserError(
                f"{names_file} is missing; Roboflow puts it beside masks, to name the "
                "classes. Copy it from the export, or export again."
            )
        for value, class_name in _read_names(names_file).items():
            if name_of.setdefault(value, class_name) != class_name:
                raise UserError(
                    f"{names_file} calls the value {value} {class_name}, but another "
                    f"folder calls it {name_of[value]}; export again."
                )
        images, labels = list_place(folder, folder)
        part = parts.setdefault(split_of(name), Part())
        part.pairs += match(images, labels)
    ids = range(max(name_of) + 1)
    return Contents(tuple(name_of.get(index, "") for index in ids), parts)


def _read_names(path: Path) -> dict[int, str]:
    rows = list(csv.reader(read_lines(path), skipinitialspace=True))[1:]
    try:
        names = {int(row[0]): row[1].strip() for row in rows if row}
    except (IndexError, ValueError):
        names = {}
    if not names or not 0 <= min(names) <= max(names) < 255:
        raise UserError(
            f"{path} cannot be understood; allowed: a line Pixel Value, Class and then "
            "a value of 0 to 254 and a name in each line."
        )
    if len(set(names.values())) < len(names):
        raise UserError(f"{path} has two values of the same name; rename one.")
    return names
