"""Miniature exports of labelme and CVAT."""

from pathlib import Path

import numpy as np
from helpers import random_image, random_label, save_image, save_palette_png

CLASSES = ("_background_", "tree", "house")
COLOURS = ((0, 0, 0), (61, 61, 245), (250, 50, 83))


def make_labelme(root: Path, num_images: int = 5) -> Path:
    """Writes labelme2voc.py's output: palette PNGs with 255 for __ignore__."""
    for index in range(num_images):
        name = f"image_{index}"
        save_image(root / "JPEGImages" / f"{name}.jpg", random_image(index))
        label = random_label(index)
        save_palette_png(root / "SegmentationClass" / f"{name}.png", label)
    (root / "class_names.txt").write_text("\n".join(CLASSES))
    return root


def make_cvat(root: Path) -> Path:
    """Writes CVAT's "Segmentation mask 1.1": RGB masks and a list of names.

    Some names have folders and spaces. The ids are those of `random_label` modulo 3, so
    that none is 255.
    """
    names = [*(f"image_{index}" for index in range(4)), "sub/b 1"]
    for index, name in enumerate(names):
        save_image(root / "JPEGImages" / f"{name}.jpg", random_image(index))
        mask = np.array(COLOURS, np.uint8)[random_label(index) % 3]
        save_image(root / "SegmentationClass" / f"{name}.png", mask)
    lines = [f"{n}:{r},{g},{b}::" for n, (r, g, b) in zip(CLASSES, COLOURS)]
    header = "# label:color_rgb:parts:actions"
    (root / "labelmap.txt").write_text("\n".join([header, *lines, ""]))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(names))
    return root


def write_lists(root: Path, **lists: list[str]) -> None:
    """Writes lists of names, NAME.txt each, as both tools and people do."""
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(entries))
