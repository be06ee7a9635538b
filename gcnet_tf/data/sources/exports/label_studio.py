"""Label Studio: its JSON, with brush strokes, polygons and rectangles, or brush PNGs.

The JSON lists tasks; PNGs are named task-1-annotation-6-by-1-tag-Car-0.png, one per
stroke. Images are found by the file name that a task has or, for PNGs without JSON, by
the number of the task. Of several annotations of a task the first that is not cancelled
is used; strokes and shapes are painted in its order. The names of PNGs do not tell this
order, so that they are painted class by class, in alphabetical order.
"""

import re
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from PIL import Image

from gcnet_tf.data.sources.exports.contents import (
    NUM_SNIFFED,
    Contents,
    Part,
    flat_points,
    read_json,
    require_images,
    stated_size,
    with_background,
)
from gcnet_tf.data.sources.exports.drawn import Canvas, Drawn
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, list_files
from gcnet_tf.data.sources.pairs import name_in
from gcnet_tf.data.sources.splits import UNDIVIDED
from gcnet_tf.errors import UserError, some
from gcnet_tf.files.names import composed

_PNG = re.compile(
    r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-(?P<by>.*?)-"
    r"(?P<tag>[^-]+)-(?P<label>.+)-(?P<number>\d+)\.png"
)
# Types of results, which are also the keys of their labels.
_WITH_AREA = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
_CORNERS = 360
_HASH = re.compile("^[0-9a-f]{8}-")


def label_studio_reason(root: Path) -> str | None:
    """Returns the file that shows that a folder is Label Studio's, in words."""
    for path in sorted(root.glob("*.json"))[:NUM_SNIFFED]:
        try:
            if _is_tasks(read_json(path)):
                return f"{path.name} lists tasks with annotations"
        except UserError:
            continue
    strokes = (path for path in list_files(root) if _PNG.fullmatch(path.name))
    return next((f"the name of {path.name}" for path in strokes), None)


def _is_tasks(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(task, dict) and "annotations" in task for task in content)
    )


def read_label_studio(root: Path) -> Contents:
    """Reads the JSON file of a folder or, without one, its brush PNGs.

    Raises:
        UserError: when there is neither, when a file is broken, or an image is missing.
    """
    files = list_files(root)
    json_files = [
        (path, content)
        for path in sorted(root.glob("*.json"))
        if _is_tasks(content := read_json(path))
    ]
    if len(json_files) > 1:
        raise UserError(
            f"{root} has {some(str(path.name) for path, _ in json_files)}, which all "
            "list tasks; move all but one away."
        )
    strokes = [path for path in files if _PNG.fullmatch(path.name)]
    images = [
        path
        for path in files
        if path.suffix.lower() in IMAGE_SUFFIXES and path not in strokes
    ]
    if json_files:
        return _of_tasks(root, *json_files[0], images)
    if strokes:
        return _of_strokes(root, strokes, images)
    raise UserError(
        f"{root} has neither a JSON file that lists tasks with annotations, nor PNGs "
        'named task-1-annotation-... Export as "JSON", or as "Brush labels to PNG", '
        "and put the images beside it."
    )


def _of_tasks(
    root: Path, path: Path, tasks: list[dict[str, Any]], images: list[Path]
) -> Contents:
    part = Part()
    used: list[str] = []
    passed_over: Counter[str] = Counter()
    missing = []
    chosen: dict[Path, list[dict[str, Any]]] = {}
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image_path in images:
        by_name[composed(image_path.name)].append(image_path)
    for task in tasks:
        try:
            image = _image_of_task(task, by_name)
            results = _results(task)
            if image is None:
                missing.append(f"the image of task {task.get('id')}")
                continue
            if image in chosen:
                raise UserError(f"{path} has two tasks with the image {image}.")
            kinds = [str(result["type"]).lower() for result in results]
            passed_over.update(kind for kind in kinds if kind not in _WITH_AREA)
            chosen[image] = [r for r, k in zip(results, kinds) if k in _WITH_AREA]
            used += [_label(result) for result in chosen[image]]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(
                f"{path}: task {task.get('id')} is not as Label Studio writes it "
                f"({type(error).__name__} {error}). Export again."
            ) from error
    require_images(missing, path, root)
    names, ids = with_background(sorted(set(used)))
    for image, results in chosen.items():
        size = None
        if results:
            size = stated_size(
                results[0].get("original_height"), results[0].get("original_width")
            )
        label = Drawn(image, (path,), partial(_paint, results=results, ids=ids), size)
        part.add(name_in(root, image), label, bool(results))
    for image in images:
        if image not in chosen:
            part.add(name_in(root, image), Drawn(image, ()), False)
    if passed_over:
        texts = some(f"{number} of {kind}" for kind, number in passed_over.items())
        part.notes.append(
            f"{path} holds results that cover no area and are passed over: {texts}."
        )
    return Contents(names, {UNDIVIDED: part})


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the results of the first annotation that is not cancelled."""
    annotations = [a for a in task["annotations"] if not a.get("was_cancelled")]
    return annotations[0]["result"] if annotations else []


def _image_of_task(task: dict[str, Any], by_name: dict[str, list[Path]]) -> Path | None:
    """Returns the image with the file name, and the folders, of the task's address.

    Label Studio puts a hash before the name of an uploaded image: 1a2b3c4d-cat.jpg.
    """
    for value in task["data"].values():
        if not isinstance(value, str):
            continue
        address = urlsplit(value)
        inner = parse_qs(address.query).get("d", [unquote(address.path)])[0]
        parts = PurePosixPath(composed(inner.replace("\\", "/"))).parts
        name = parts[-1] if parts else ""
        found = by_name.get(name) or by_name.get(_HASH.sub("", name)) or []
        for length in range(2, len(parts) + 1):
            if len(found) > 1:
                tail = parts[-length:-1]
                found = [p for p in found if _folders(p, length) == tail] or found
        if len(found) > 1:
            raise UserError(
                f"{some(map(str, found))}: each may be the image of task "
                f"{task.get('id')}, {value}. Rename them, or keep their sub-folders."
            )
        if found:
            return found[0]
    return None


def _folders(path: Path, length: int) -> tuple[str, ...]:
    """Returns the last `length` parts of a path but the file's own name."""
    return tuple(map(composed, path.parts[-length:-1]))


def _label(result: dict[str, Any]) -> str:
    labels = result["value"][str(result["type"]).lower()]
    return str(labels[0])


def _paint(canvas: Canvas, results: list[dict[str, Any]], ids: dict[str, int]) -> None:
    height, width = canvas.ids.shape
    for result in results:
        class_id, value = ids[_label(result)], result["value"]
        kind = str(result["type"]).lower()
        if kind == "brushlabels":
            alpha = decoded_brush(value["rle"], 4 * height * width)
            canvas.mask(class_id, alpha.reshape(height, width, 4)[..., 3] > 0)
            continue
        if kind == "polygonlabels":
            points = list(flat_points(value["points"]))
        else:
            points = _outline(kind, value, height / width)
        shares = np.array(points).reshape(-1, 2) / 100
        canvas.polygons(class_id, [(shares * (width, height)).ravel().tolist()])


def _outline(kind: str, value: dict[str, Any], aspect: float) -> list[float]:
    """Returns a rectangle or an ellipse as a polygon, in percent of width and height.

    A rectangle turns around its upper left corner, an ellipse around its centre, both
    clockwise in pixels, hence `aspect`, the height by the width.
    """
    x, y = float(value["x"]), float(value["y"])
    if kind == "rectanglelabels":
        width, height = float(value["width"]), float(value["height"])
        offsets = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    else:
        angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        offsets = np.stack([np.cos(angles), np.sin(angles)], 1)
        offsets = offsets * (float(value["radiusX"]), float(value["radiusY"]))
    turn = np.deg2rad(float(value.get("rotation") or 0))
    across, down = offsets[:, 0], offsets[:, 1] * aspect  # both in percent of the width
    turned = [
        x + across * np.cos(turn) - down * np.sin(turn),
        y + (across * np.sin(turn) + down * np.cos(turn)) / aspect,
    ]
    return np.stack(turned, 1).ravel().tolist()


def decoded_brush(rle: list[int], num_values: int) -> np.ndarray:
    """Decodes the run lengths of a brush: a stream of bits, RGBA of all pixels.

    Args:
        rle: the bytes.
        num_values: number of values that the stream must state.

    Returns:
        uint8 (num_values,).

    Raises:
        UserError: when it states another number, or ends before.
    """
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def read(size: int) -> int:
        nonlocal position
        position += size
        if position > len(bits):
            raise UserError("the run lengths of a brush are cut short")
        return int(bits[position - size : position], 2)

    if (stated := read(32)) != num_values:
        raise UserError(
            f"a brush of {stated // 4} pixels in an image of {num_values // 4}"
        )
    word = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values, repeats = [], []
    total = 0
    while total < num_values:
        is_run = read(1)
        length = read(sizes[read(2)]) + 1
        total += length
        values += [read(word)] if is_run else [read(word) for _ in range(length)]
        repeats += [length] if is_run else [1] * length
    return np.repeat(np.array(values), repeats)[:num_values].astype(np.uint8)


def _of_strokes(root: Path, strokes: list[Path], images: list[Path]) -> Contents:
    by_task: dict[str, list[tuple[int, str, int, Path]]] = {}
    for path in strokes:
        match = _PNG.fullmatch(path.name)
        assert match is not None  # as `strokes` are chosen
        stroke = (int(match["annotation"]), match["label"], int(match["number"]), path)
        by_task.setdefault(match["task"], []).append(stroke)
    names, ids = with_background(
        sorted({label for found in by_task.values() for _, label, _, _ in found})
    )
    image_of = {path.stem: path for path in images}
    missing = sorted(set(by_task) - set(image_of))
    if missing:
        raise UserError(
            f"{root} has strokes of the tasks {some(missing)}, but no images named "
            'after these numbers. Export as "JSON" as well, which names the image of '
            "each task, or name the images 1.jpg, 2.jpg, ..."
        )
    part = Part()
    for stem, image in image_of.items():
        found = sorted(by_task.get(stem, ()))
        layers = [
            (ids[label], path)
            for annotation, label, _, path in found
            if annotation == found[0][0]
        ]
        files = tuple(path for _, path in layers)
        label = Drawn(image, files, partial(_paint_strokes, layers=layers))
        part.add(name_in(root, image), label, bool(layers))
    return Contents(names, {UNDIVIDED: part})


def _paint_strokes(canvas: Canvas, layers: list[tuple[int, Path]]) -> None:
    for class_id, path in layers:
        mask = np.asarray(Image.open(path).convert("L")) > 0
        if mask.shape != canvas.ids.shape:
            raise UserError(
                f"{path} has {mask.shape[1]}x{mask.shape[0]} pixels, the image "
                f"{canvas.ids.shape[1]}x{canvas.ids.shape[0]} (width x height)"
            )
        canvas.mask(class_id, mask)
