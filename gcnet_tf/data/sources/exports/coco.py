"""COCO JSON, of COCO itself and of other tools: polygons, run lengths and crowds.

A JSON file is a split, by a word in its name or, as Roboflow has it, in its folder's.
The classes are the categories in the order of their ids. Crowd regions are painted
first, because they are rough, and then the objects in the order of the file.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gcnet_tf.data.sources.exports.contents import (
    NUM_SNIFFED,
    Contents,
    Part,
    below,
    counted,
    read_json,
    require_images,
    stated_size,
    with_background,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.errors import UserError, first_line, some

_KEYS = {"images", "annotations", "categories"}


@dataclass(frozen=True)
class _File:
    path: Path
    content: dict[str, Any]

    @property
    def split(self) -> str:
        return split_of(self.path.stem) or split_of(self.path.parent.name)


def coco_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is a COCO export, in words."""
    for path in _json_files(root)[:NUM_SNIFFED]:
        try:
            content = read_json(path)
        except UserError:
            continue
        if isinstance(content, dict) and _KEYS <= content.keys():
            return f"{path.relative_to(root)} has images, annotations and categories"
    return None


def read_coco(root: Path) -> Contents:
    """Reads the COCO files of a folder.

    Raises:
        UserError: when there is none, when one is broken, or names images that are not
            there.
    """
    files = _read_files(root)
    categories = _categories(files)
    names, ids = with_background(categories[key] for key in sorted(categories))
    parts: dict[str, Part] = {}
    path_of: dict[str, Path] = {}
    for file in files:
        first = path_of.setdefault(file.split, file.path)
        if first != file.path:
            raise UserError(
                f"{first} and {file.path} are both for the split "
                f'"{file.split or "all"}"; move one away, or put the word train, val '
                "or test into their names."
            )
        try:
            parts[file.split] = _part(root, file, ids)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file.path} is not as COCO describes it: {type(error).__name__} "
                f"{first_line(error)}. Export again."
            ) from error
    first_part = parts.get("train") or next(iter(parts.values()))
    first_part.notes += _strays(parts.values())
    return Contents(names, parts)


def _strays(parts: Iterable[Part]) -> list[str]:
    """Returns a note of the images that lie among the others, but are not listed."""
    used = {pair.image for part in parts for pair in (*part.pairs, *part.bare)}
    strays = [
        path
        for folder in sorted({path.parent for path in used})
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path not in used
        and not path.name.startswith(".")
    ]
    if not strays:
        return []
    names = some(path.name for path in strays)
    return [
        f"{counted(len(strays), 'image')} beside those that the JSON files list are "
        f"passed over: {names}."
    ]


def _json_files(root: Path) -> list[Path]:
    paths = [
        path
        for folder in (root, *sorted(root.glob("*/")))
        if not folder.name.startswith(".")
        for path in sorted(folder.glob("*.json"))
    ]
    # COCO itself comes with captions and keypoints of the same images.
    return [p for p in paths if p.stem.startswith("instances")] or paths


def _read_files(root: Path) -> list[_File]:
    files = []
    for path in _json_files(root):
        content = read_json(path)
        if isinstance(content, dict) and _KEYS <= content.keys():
            files.append(_File(path, content))
    if not files:
        raise UserError(
            f"{root} has no JSON file with images, annotations and categories, as COCO "
            "has, nor have its folders."
        )
    return files


def _categories(files: Iterable[_File]) -> dict[int, str]:
    """Returns the names of the categories that are classes, by id.

    Roboflow's first category names the project: nothing but the others' parent.
    """
    name_of: dict[int, str] = {}
    parents: set[str] = set()
    used: set[int] = set()
    for file in files:
        try:
            for category in file.content["categories"]:
                name = name_of.setdefault(category["id"], str(category["name"]))
                if name != category["name"]:
                    raise UserError(
                        f"{file.path} calls the category {category['id']} "
                        f"{category['name']}, but another file calls it {name}; "
                        "export both again."
                    )
                if category.get("supercategory") != name:
                    parents.add(str(category.get("supercategory")))
            keys = {category["id"] for category in file.content["categories"]}
            for annotation in file.content["annotations"]:
                key = annotation["category_id"]
                used.add(key)
                if key not in keys:
                    raise UserError(
                        f"{file.path}: the annotation {annotation.get('id')} has the "
                        f"category {key}; the file has {some(map(str, keys)) or 'none'}"
                        ". Export again, or add the category."
                    )
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file.path} has a category or an annotation without an id: "
                f"{type(error).__name__} {first_line(error)}. Export again."
            ) from None
    return {
        key: name for key, name in name_of.items() if key in used or name not in parents
    }


def _part(root: Path, file: _File, ids: dict[str, int]) -> Part:
    path, content = file.path, file.content
    names = {category["id"]: category["name"] for category in content["categories"]}
    annotations = defaultdict(list)
    refused: Counter[str] = Counter()
    for annotation in content["annotations"]:
        if kind := _without_area(annotation):
            refused[kind] += 1
        else:
            annotations[annotation["image_id"]].append(annotation)
    _require_shapes(path, len(content["annotations"]), refused)
    part = Part()
    images = {image["id"]: image for image in content["images"]}
    _require_distinct(path, content["images"])
    if strangers := [key for key in annotations if key not in images]:
        raise UserError(
            f"{path} has annotations of {counted(len(strangers), 'image')} that it "
            f"does not list: {some(map(str, strangers))}. Export again."
        )
    places = _Places(root, file)
    missing = []
    for key, image in images.items():
        image_path = places.find(image["file_name"])
        if image_path is None:
            missing.append(str(image["file_name"]))
            continue
        shapes = sorted(annotations[key], key=lambda shape: not shape.get("iscrowd"))
        to_paint = [(ids[names[shape["category_id"]]], shape) for shape in shapes]
        label = Drawn(
            image_path,
            (path,),
            partial(_paint, shapes=to_paint),
            stated_size(image.get("height"), image.get("width")),
        )
        name = str(image["file_name"]).replace("\\", "/").rpartition(".")[0]
        part.add(name.removeprefix("images/"), label, bool(shapes))
    require_images(missing, path, root)
    if refused:
        kinds = some(counted(number, kind) for kind, number in refused.items())
        part.notes.append(
            f"{path} holds {kinds} without a polygon or mask, which are passed over: "
            "their pixels count as background."
        )
    return part


def _without_area(annotation: dict[str, Any]) -> str:
    """Returns the kind of an annotation that covers no pixels; "" for others."""
    if annotation.get("segmentation"):
        return ""
    if annotation.get("keypoints"):
        return "set of keypoints"
    return "box" if annotation.get("bbox") else "empty annotation"


def _require_shapes(path: Path, num_annotations: int, refused: Counter[str]) -> None:
    if num_annotations and sum(refused.values()) == num_annotations:
        kinds = some(counted(number, kind) for kind, number in refused.items())
        raise UserError(
            f"{path} holds {kinds}, no polygons and no masks, so that it does not say "
            "which pixels belong to a class. Export instances with segmentation, or "
            "draw polygons."
        )


def _require_distinct(path: Path, images: list[dict[str, Any]]) -> None:
    for key in ("id", "file_name"):
        numbers = Counter(image[key] for image in images)
        twice = [str(value) for value, number in numbers.items() if number > 1]
        if twice:
            raise UserError(
                f"{path} lists images more than once, by their {key}: {some(twice)}. "
                "List each image once, with all its annotations."
            )


class _Places:
    """Finds images where tools put them: beside the JSON, in images/, in train2017/."""

    def __init__(self, root: Path, file: _File) -> None:
        self._root = root
        folder = file.path.parent
        bases = [folder, folder / "images"]
        stem = file.path.stem.removeprefix("instances_")
        for above in (root, root / "images", root / "data"):
            bases += [above / stem, above]
            if above.is_dir():
                bases += [
                    sub
                    for sub in sorted(above.glob("*/"))
                    if file.split and split_of(sub.name) == file.split
                ]
        self._bases = [base for base in dict.fromkeys(bases) if base.is_dir()]

    def find(self, name: str) -> Path | None:
        """Returns the image of a name; None if there is none."""
        found = None
        for base in self._bases:
            path = below(self._root, base, name)
            if path.is_file():
                found = path
                break
        if found:
            # Most images lie in the same folder.
            self._bases.remove(base)
            self._bases.insert(0, base)
        return found


def _paint(canvas: Canvas, shapes: list[tuple[int, dict[str, Any]]]) -> None:
    for class_id, shape in shapes:
        segmentation = shape["segmentation"]
        try:
            if isinstance(segmentation, dict):
                canvas.run_lengths(class_id, segmentation)
            else:
                canvas.polygons(class_id, segmentation)
        except (UserError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the annotation {shape.get('id')}: {first_line(error)}"
            ) from error
