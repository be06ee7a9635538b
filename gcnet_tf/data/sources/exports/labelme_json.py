"""labelme's own JSON files, each beside its image or in a folder of their own.

Every label is a class, in alphabetical order, unless labels.txt names them in another
one. Shapes are painted in the order of the file, as labelme's own conversion does; that
one also paints the outline, so that its masks are wider, by up to a pixel.
"""

import base64
import io
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcnet_tf.data.sources.annotation_tools import IGNORED_NAME
from gcnet_tf.data.sources.exports.contents import (
    NUM_SNIFFED,
    Contents,
    Part,
    below,
    counted,
    flat_points,
    read_json,
    require_images,
    stated_size,
    with_background,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, list_files
from gcnet_tf.data.sources.pairs import name_in, read_lines
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.errors import UserError, some
from gcnet_tf.files.names import composed

_KEYS = ("shapes", "imagePath", "imageHeight", "imageWidth")
_NAMES_FILE = "labels.txt"
_WITH_AREA = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")
# Corners of the polygon that stands for a circle.
_CORNERS = 360


def labelme_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is labelme's, in words."""
    paths = [path for path in list_files(root) if path.suffix.lower() == ".json"]
    for path in paths[:NUM_SNIFFED]:
        try:
            content = read_json(path)
        except UserError:
            continue
        if _is_labelme(content):
            return f"{path.relative_to(root)} has shapes and imagePath"
    return None


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()


def read_labelme_json(root: Path) -> Contents:
    """Reads the JSON files below a folder.

    Raises:
        UserError: when there is none, when one is broken, or when an image is missing
            or has two of them.
    """
    files = list_files(root)
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    contents = {}
    for path in files:
        if path.suffix.lower() != ".json":
            continue
        content = read_json(path)
        if _is_labelme(content):
            # Without imageData, the image once more, which fills the memory.
            contents[path] = {key: content.get(key) for key in _KEYS}
    if not contents:
        raise UserError(f"{root} has no JSON file with shapes and imagePath.")
    names, ids = _names(root, contents)
    parts: dict[str, Part] = {}
    json_of: dict[Path, Path] = {}
    images_of: dict[str, list[Path]] = defaultdict(list)
    for image_path in images:
        images_of[composed(str(image_path.with_suffix("")))].append(image_path)
    missing: list[str] = []
    shapes_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, content in contents.items():
        image = _image(root, path, content, images_of)
        if image is None:
            missing.append(f"{content['imagePath']} ({path.name})")
            continue
        first = json_of.setdefault(image, path)
        if first != path:
            raise UserError(
                f"{first} and {path} are both for {image}; remove one of them."
            )
        split = _split(root, image) or _split(root, path)
        part = parts.setdefault(split, Part())
        _add(part, root, path, content, image, ids)
        shapes_of[split] += content["shapes"]
    require_images(missing, root, root)
    for split, shapes in shapes_of.items():
        parts[split].notes += _note_lines(root, shapes)
    for image in images:
        if image not in json_of:
            part = parts.setdefault(_split(root, image), Part())
            part.add(name_in(root, image), Drawn(image, ()), False)
    return Contents(names, parts)


def _names(
    root: Path, contents: dict[Path, dict[str, Any]]
) -> tuple[tuple[str, ...], dict[str, int]]:
    used = set()
    for path, content in contents.items():
        try:
            used |= {str(shape["label"]) for shape in content["shapes"]}
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} has a shape without a label: {error}.") from None
    listed = []
    if (root / _NAMES_FILE).is_file():
        listed = [line for line in read_lines(root / _NAMES_FILE) if line]
        if unknown := sorted(used - {*listed, IGNORED_NAME}):
            raise UserError(
                f"{root / _NAMES_FILE} lacks labels that are in the JSON files: "
                f"{some(unknown)}. Add them, or correct the shapes in labelme."
            )
    if IGNORED_NAME in used and IGNORED_NAME not in listed:
        listed.append(IGNORED_NAME)
    return with_background(listed or sorted(used))


def _image(
    root: Path, path: Path, content: dict[str, Any], images_of: dict[str, list[Path]]
) -> Path | None:
    image = below(root, path.parent, content["imagePath"] or "")
    if image.is_file():
        return image
    beside = images_of.get(composed(str(path.with_suffix(""))), [])
    return beside[0] if len(beside) == 1 else None


def _split(root: Path, path: Path) -> str:
    for folder in path.relative_to(root).parts[:-1]:
        if split := split_of(folder):
            return split
    return ""


def _add(
    part: Part,
    root: Path,
    path: Path,
    content: dict[str, Any],
    image: Path,
    ids: dict[str, int],
) -> None:
    shapes = content["shapes"]
    label = Drawn(
        image,
        (path,),
        partial(_paint, shapes=shapes, ids=ids),
        stated_size(content.get("imageHeight"), content.get("imageWidth")),
    )
    has_shapes = any(_kind(shape) in _WITH_AREA for shape in shapes)
    part.add(name_in(root, image), label, has_shapes)


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _note_lines(root: Path, shapes: list[dict[str, Any]]) -> list[str]:
    kinds = Counter(_kind(shape) for shape in shapes)
    texts = [counted(kinds[kind], kind) for kind in kinds if kind not in _WITH_AREA]
    if not texts:
        return []
    return [
        f"{root} holds {some(texts)}, which cover no area and are passed over; draw "
        "polygons for them."
    ]


def _paint(canvas: Canvas, shapes: list[dict[str, Any]], ids: dict[str, int]) -> None:
    for shape in shapes:
        class_id = ids[str(shape["label"])]
        points = shape["points"]
        kind = _kind(shape)
        if kind == "mask":
            (left, top), _ = points
            data = io.BytesIO(base64.b64decode(shape["mask"]))
            mask = np.asarray(Image.open(data).convert("L")) > 0
            canvas.mask(class_id, mask, int(left), int(top))
        elif kind in _WITH_AREA:
            canvas.polygons(class_id, [_polygon(kind, points)])


def _polygon(kind: str, points: list[list[float]]) -> list[float]:
    if kind == "rectangle":
        (x1, y1), (x2, y2) = points
        return [x1, y1, x2, y1, x2, y2, x1, y2]
    if kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = np.hypot(edge_x - x, edge_y - y)
        angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
        return corners.T.ravel().tolist()
    return list(flat_points(points))
