"""Makers of exports that all describe the same two scenes, and what these hold.

The scenes are drawn here, pixel by pixel; every export describes them in its own way.
"""

import json
import shutil
from pathlib import Path

import numpy as np
from helpers import random_image, save_image

# Height and width differ from each other, and from powers of two.
SIZE = (40, 60)
NAMES = ("cat", "dog")
# Of each scene, the rectangles (left, top, right, bottom), the later over the earlier.
SCENES = {
    "first": [
        ("cat", (5, 4, 25, 20)),
        ("dog", (15, 10, 40, 31)),
        ("cat", (1, 35, 2, 36)),
    ],
    "second": [("dog", (0, 0, 60, 10)), ("cat", (50, 5, 60, 40))],
}


def truth(scene: str) -> np.ndarray:
    """Returns the ids of a scene: 0 background, 1 cat, 2 dog."""
    ids = np.zeros(SIZE, np.uint8)
    for name, (left, top, right, bottom) in SCENES[scene]:
        ids[top:bottom, left:right] = 1 + NAMES.index(name)
    return ids


def corners(box):
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def flat(points):
    return [value for point in points for value in point]


def save_scene(path: Path, scene: str) -> None:
    save_image(path, random_image(len(scene), *SIZE))


def coco_content(file_name="{}.jpg", segmentation=None) -> dict:
    """Returns COCO's JSON; the ids of the categories have gaps and another order."""
    segmentation = segmentation or (lambda box: [flat(corners(box))])
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}],
    }
    for key, scene in enumerate(SCENES, 7):
        height, width = SIZE
        name = file_name.format(scene)
        image = {"id": key, "file_name": name, "height": height, "width": width}
        content["images"].append(image)
        for name, box in SCENES[scene]:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": key,
                    "category_id": {"dog": 9, "cat": 4}[name],
                    "segmentation": segmentation(box),
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "iscrowd": 0,
                }
            )
    return content


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def make_coco(root: Path, segmentation=None) -> Path:
    """Writes annotations/instances_default.json and images/."""
    content = coco_content(segmentation=segmentation)
    write_json(root / "annotations" / "instances_default.json", content)
    for scene in SCENES:
        save_scene(root / "images" / f"{scene}.jpg", scene)
    return root


def make_official_coco(root: Path) -> Path:
    """Writes COCO's own folders: train2017/, val2017/, annotations/ of many kinds."""
    for split, scene in (("train", "first"), ("val", "second")):
        content = coco_content()
        keep = {i["id"] for i in content["images"] if i["file_name"] == f"{scene}.jpg"}
        content["images"] = [i for i in content["images"] if i["id"] in keep]
        content["annotations"] = [
            a for a in content["annotations"] if a["image_id"] in keep
        ]
        folder = root / "annotations"
        write_json(folder / f"instances_{split}2017.json", content)
        content["annotations"] = [{"image_id": 1, "id": 1, "caption": "a cat"}]
        write_json(folder / f"captions_{split}2017.json", content)
        save_scene(root / f"{split}2017" / f"{scene}.jpg", scene)
    return root


def make_roboflow_coco(root: Path) -> Path:
    """Writes Roboflow's COCO: a file in each folder, and a category for the project."""
    make_official_coco(root / "made")
    for split, folder in (("train", "train"), ("val", "valid")):
        path = root / "made" / "annotations" / f"instances_{split}2017.json"
        content = json.loads(path.read_text())
        for category in content["categories"]:
            category["supercategory"] = "pets"
        content["categories"].insert(
            0, {"id": 0, "name": "pets", "supercategory": "none"}
        )
        (root / "made" / f"{split}2017").rename(root / folder)
        write_json(root / folder / "_annotations.coco.json", content)
        for other in path.parent.glob(f"*_{split}2017.json"):
            other.unlink()
    return root


def make_roboflow_masks(root: Path) -> Path:
    for scene, folder in (("first", "train"), ("second", "valid")):
        save_scene(root / folder / f"{scene}_jpg.rf.00ff.jpg", scene)
        save_image(root / folder / f"{scene}_jpg.rf.00ff_mask.png", truth(scene))
        (root / folder / "_classes.csv").write_text(
            "Pixel Value, Class\n0, background\n1, cat\n2, dog\n"
        )
    return root


def labelme_content(scene: str, **changes) -> dict:
    """Returns labelme's JSON of version 6.3.1."""
    shapes = [
        {
            "label": name,
            "points": corners(box),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for name, box in SCENES[scene]
    ]
    height, width = SIZE
    return {
        "version": "6.3.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{scene}.jpg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        **changes,
    }


def make_labelme_json(root: Path) -> Path:
    for scene in SCENES:
        save_scene(root / f"{scene}.jpg", scene)
        write_json(root / f"{scene}.json", labelme_content(scene))
    return root


def yolo_lines(scene: str) -> str:
    height, width = SIZE
    lines = []
    for name, box in SCENES[scene]:
        shares = [value for x, y in corners(box) for value in (x / width, y / height)]
        lines.append(" ".join(map(str, [NAMES.index(name), *shares])))
    return "\n".join(lines) + "\n"


def make_yolo(root: Path, images="images/{}", labels="labels/{}") -> Path:
    for scene, split in (("first", "train"), ("second", "val")):
        save_scene(root / images.format(split) / f"{scene}.jpg", scene)
        path = root / labels.format(split) / f"{scene}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yolo_lines(scene))
    (root / "data.yaml").write_text(
        "path: /nowhere\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n"
    )
    return root


def make_made(tool: str, images: str):
    """Returns a maker of the export that a tool itself has written."""
    made = Path(__file__).parent / "data" / "sources" / "exports" / "made"

    def make(root: Path) -> Path:
        shutil.copytree(made / tool, root)
        for scene in SCENES:
            save_scene(root / images / f"{scene}.jpg", scene)
        return root

    return make


def make_brush_pngs(root: Path) -> Path:
    """Writes what Label Studio's converter 2.1.2 writes as "Brush labels to PNG"."""
    for task, (scene, boxes) in enumerate(SCENES.items(), 1):
        save_scene(root / "images" / f"{task}.jpg", scene)
        names = [name for name, _ in boxes]
        for index, (name, (left, top, right, bottom)) in enumerate(boxes):
            mask = np.zeros(SIZE, np.uint8)
            mask[top:bottom, left:right] = 255
            number = names[:index].count(name)
            file = (
                f"task-{task}-annotation-{task + 10}-by-a.b@c.org-tag-{name}-{number}"
            )
            save_image(root / f"{file}.png", mask)
    return root
