"""YOLO's segmentation polygons: a text file per image, of lines "class x y x y ...".

Coordinates are shares of the upright image's width and height. The classes have their
names in a YAML file, such as data.yaml, or in classes.txt; class k has the id k + 1,
after the background. The paths in the YAML file are not followed, because they are
those of another machine: the folders images/ and labels/ say the same.
"""

from functools import partial
from pathlib import Path

import numpy as np

from gcnet_tf.data.sources.arranged import folder_places
from gcnet_tf.data.sources.exports.contents import (
    Contents,
    Part,
    counted,
    with_background,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import image_names, list_files
from gcnet_tf.data.sources.pairs import by_stem, count, read_lines
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.errors import UserError, first_line, some

_TEXT = frozenset({".txt"})
_CLASSES = "classes.txt"
# Numbers of a line that is a box: class, centre, width and height.
_BOX = 5

# The lines of a text file, each the class and its coordinates.
_Rows = list[np.ndarray]


def yolo_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is for YOLO, in words."""
    for images, labels in folder_places(root, _TEXT).values():
        texts = _texts(labels) if images.is_dir() else []
        if texts:
            return f"{texts[0].relative_to(root)} beside {images.relative_to(root)}/"
    return None


def read_yolo(root: Path) -> Contents:
    """Reads the text files of a folder.

    Raises:
        UserError: when there is none, when a text file has no image, or when a line
            cannot be understood.
    """
    places = folder_places(root, _TEXT)
    rows_of: dict[Path, _Rows] = {
        path: _read_rows(path)
        for _, labels in places.values()
        for path in _texts(labels)
    }
    if not rows_of:
        raise UserError(
            f"{root} has no text files in labels/ beside images/, as YOLO has."
        )
    all_rows = [row for rows in rows_of.values() for row in rows]
    if all_rows and all(row.size == _BOX for row in all_rows):
        raise UserError(
            f"{root} holds {counted(len(all_rows), 'box')}, no polygons, so that it "
            "does not say which pixels belong to a class. Export for segmentation, or "
            "draw polygons."
        )
    named_in = _names_file(root, [labels for _, labels in places.values()])
    largest = max((int(row[0]) for row in all_rows), default=0)
    named = tuple(f"class_{index}" for index in range(largest + 1))
    if named_in:
        named = _read_names(named_in)
        _require_named(rows_of, named_in, len(named))
    names, ids = with_background(named)
    own_ids = [ids[name] for name in named]
    parts: dict[str, Part] = {}
    for name, (images, labels) in places.items():
        if images.is_dir():
            part = parts.setdefault(split_of(name), Part())
            _add(part, images, labels, named_in, rows_of, own_ids)
    return Contents(names, parts, named_in is not None)


def _names_file(root: Path, folders: list[Path]) -> Path | None:
    """Returns the file that names the classes; None if there is none."""
    texts = [folder / _CLASSES for folder in (root, *folders)]
    found = [*sorted([*root.glob("*.yaml"), *root.glob("*.yml")]), *texts]
    return next((path for path in found if path.is_file()), None)


def _texts(labels: Path) -> list[Path]:
    if not labels.is_dir():
        return []
    files = list_files(labels)
    texts = [path for path in files if path.suffix.lower() in _TEXT]
    return [path for path in texts if path.name != _CLASSES]


def _read_rows(path: Path) -> _Rows:
    rows = []
    for number, line in enumerate(read_lines(path) if path.stat().st_size else [], 1):
        if not line:
            continue
        try:
            row = np.array(line.split(), np.float64)
        except ValueError:
            row = np.empty(0)
        is_whole = row.size == _BOX or (row.size >= 7 and row.size % 2)
        if not is_whole or row[0] < 0 or row[0] % 1 or not np.isfinite(row).all():
            raise UserError(
                f'{path}, line {number}: received "{line[:40]}"; allowed: the number '
                "of a class, and x and y of at least three corners."
            )
        rows.append(row)
    return rows


def _read_names(path: Path) -> tuple[str, ...]:
    if path.name == _CLASSES:
        return tuple(line for line in read_lines(path) if line)
    # Imported only here, because only this format has YAML.
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        names = content["names"]
        if isinstance(names, dict):
            names = [names[index] for index in range(len(names))]
        if not names or not isinstance(names, list):
            raise ValueError("names is no list")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} has no list of names for the classes 0, 1, ... "
            f"({first_line(error)}); it needs names: [first, second, ...]."
        ) from None
    return tuple(str(name) for name in names)


def _require_named(rows_of: dict[Path, _Rows], named_in: Path, num_names: int) -> None:
    for path, rows in rows_of.items():
        for row in rows:
            if row[0] >= num_names:
                raise UserError(
                    f"{path} has the class {int(row[0])}, but {named_in} names only "
                    f"the classes 0 to {num_names - 1}. Correct one of them."
                )


def _add(
    part: Part,
    images: Path,
    labels: Path,
    named_in: Path | None,
    rows_of: dict[Path, _Rows],
    ids: list[int],
) -> None:
    image_of = by_stem(image_names(images), images)
    text_of = by_stem((str(p.relative_to(labels)) for p in _texts(labels)), labels)
    strays = [name for name in text_of if name not in image_of]
    if strays:
        raise UserError(
            f"{count(strays, 'label')} in {labels} without an image in {images}: "
            f"{some(text_of[name].name for name in strays)}. Add the images or move "
            "the labels away."
        )
    num_boxes = 0
    for name, image in image_of.items():
        path = text_of.get(name)
        rows = rows_of[path] if path else []
        shapes = [(ids[int(row[0])], row[1:]) for row in rows if row.size != _BOX]
        num_boxes += len(rows) - len(shapes)
        files = tuple(filter(None, (path, named_in)))
        label = Drawn(image, files, partial(_paint, shapes=shapes))
        part.add(name, label, bool(shapes))
    if num_boxes:
        part.notes.append(
            f"{labels} holds {counted(num_boxes, 'box')} without a polygon, which are "
            "passed over: their pixels count as background."
        )


def _paint(canvas: Canvas, shapes: list[tuple[int, np.ndarray]]) -> None:
    height, width = canvas.ids.shape
    for class_id, shares in shapes:
        points = shares.reshape(-1, 2) * (width, height)
        canvas.polygons(class_id, [points.ravel().tolist()])
