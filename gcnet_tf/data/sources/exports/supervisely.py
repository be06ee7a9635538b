"""Supervisely's projects: meta.json, DATASET/img/NAME.jpg, DATASET/ann/NAME.jpg.json.

The classes are those of meta.json, in its order. A dataset is a split if its name says
so. Objects are painted in the order of the file. Corners of polygons and rectangles are
pixels that belong to the shape, as Supervisely's own software draws them.
"""

import base64
import io
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcnet_tf.data.sources.exports.contents import (
    Contents,
    Part,
    counted,
    read_json,
    require_images,
    stated_size,
    with_background,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, list_files
from gcnet_tf.data.sources.pairs import name_in
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.errors import UserError, some
from gcnet_tf.files.names import composed

_META = "meta.json"
_WITH_AREA = ("polygon", "bitmap", "rectangle")


def supervisely_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is Supervisely's, in words."""
    if (root / _META).is_file() and any(root.glob("*/ann")):
        return f"{_META} beside DATASET/ann"
    return None


def read_supervisely(root: Path) -> Contents:
    """Reads a project.

    Raises:
        UserError: when a file is missing or broken, or an object has another class.
    """
    meta = root / _META
    if not meta.is_file():
        raise UserError(
            f"{meta} is missing; Supervisely names the classes there. Copy it from the "
            "project, or download the project again."
        )
    content = read_json(meta)
    try:
        titles = [str(entry["title"]) for entry in content["classes"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{meta} has no list of classes with titles: {error}."
        ) from None
    names, ids = with_background(titles)
    ids = {title: ids[title] for title in titles}
    parts: dict[str, Part] = {}
    for folder in sorted(path.parent for path in root.glob("*/ann")):
        _add(parts.setdefault(split_of(folder.name), Part()), root, folder, ids)
    if not parts:
        raise UserError(f"{root} has no folder DATASET/ann, as Supervisely has.")
    return Contents(names, parts)


def _add(part: Part, root: Path, folder: Path, ids: dict[str, int]) -> None:
    meta, annotations, images = root / _META, folder / "ann", folder / "img"
    image_of = {
        composed(path.relative_to(images).as_posix()): path
        for path in (list_files(images) if images.is_dir() else [])
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    json_of = {
        composed(path.relative_to(annotations).as_posix()).removesuffix(".json"): path
        for path in list_files(annotations)
        if path.suffix == ".json"
    }
    require_images(sorted(json_of.keys() - image_of.keys()), annotations, images)
    passed_over: Counter[str] = Counter()
    for key, image in image_of.items():
        name = f"{folder.name}/{name_in(images, image)}"
        if key not in json_of:
            part.add(name, Drawn(image, ()), False)
            continue
        content = read_json(json_of[key])
        try:
            objects = content["objects"]
            kinds = Counter(str(item["geometryType"]) for item in objects)
            unknown = {str(item["classTitle"]) for item in objects} - ids.keys()
            size = content.get("size") or {}
            stated = stated_size(size.get("height"), size.get("width"))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{json_of[key]} is not as Supervisely writes it "
                f"({type(error).__name__} {error}). Download it again."
            ) from error
        if unknown:
            raise UserError(
                f"{json_of[key]} has objects of {some(sorted(unknown))}, but {meta} "
                f"names {some(ids)}. Download the whole project again."
            )
        has_shapes = any(kind in _WITH_AREA for kind in kinds)
        passed_over.update({k: n for k, n in kinds.items() if k not in _WITH_AREA})
        paint = partial(_paint, objects=objects, ids=ids)
        part.add(name, Drawn(image, (json_of[key], meta), paint, stated), has_shapes)
    if passed_over:
        texts = some(counted(number, kind) for kind, number in passed_over.items())
        part.notes.append(
            f"{annotations} holds {texts}, which cover no area and are passed over."
        )


def _paint(canvas: Canvas, objects: list[dict[str, Any]], ids: dict[str, int]) -> None:
    for item in objects:
        class_id, kind = ids[str(item["classTitle"])], item["geometryType"]
        if kind == "bitmap":
            left, top = item["bitmap"]["origin"]
            canvas.mask(class_id, _bitmap(item["bitmap"]["data"]), int(left), int(top))
        elif kind == "polygon":
            points = item["points"]
            canvas.pixel_polygon(
                class_id, points["exterior"], points.get("interior") or ()
            )
        elif kind == "rectangle":
            (x1, y1), (x2, y2) = item["points"]["exterior"]
            canvas.pixel_polygon(class_id, [(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


def _bitmap(data: str) -> np.ndarray:
    """Returns the mask of a bitmap: a PNG, compressed once more and in base64."""
    image = Image.open(io.BytesIO(zlib.decompress(base64.b64decode(data))))
    if "A" in image.mode or "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))[..., 3] > 0
    return np.asarray(image.convert("L")) > 0
