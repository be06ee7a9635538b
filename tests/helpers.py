"""Small makers of data sets on disk, for all tests."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "tree", "house")


def save_image(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_palette_png(path: Path, ids: np.ndarray, **options) -> Path:
    """A palette PNG as Pascal VOC's: the colours are far from the ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", ids.shape[::-1], ids.astype(np.uint8).tobytes())
    image.putpalette(
        [(37 * i + shift) % 256 for i in range(256) for shift in (9, 99, 7)]
    )
    image.save(path, **options)
    return path


def random_image(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng([seed, 0])
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def random_label(
    seed: int, num_classes: int = 3, height: int = 24, width: int = 32
) -> np.ndarray:
    """Ids 0..num_classes-1 and 255, each somewhere."""
    rng = np.random.default_rng([seed, 1])
    ids = np.array([*range(num_classes), 255])
    return (
        rng.permutation(np.resize(ids, height * width))
        .reshape(height, width)
        .astype(np.uint8)
    )


def make_folder_tree(
    root: Path, num_train: int = 3, num_val: int = 2, num_classes: int = 3
) -> Path:
    """The `folder` layout: JPEG images of 24x32, grey label PNGs."""
    for split, number in (("train", num_train), ("val", num_val)):
        for index in range(number):
            seed = index + 1000 * (split == "val")
            name = f"{split}_{index:03d}"
            folder = root / split
            save_image(folder / "images" / f"{name}.jpg", random_image(seed))
            label = random_label(seed, num_classes)
            save_image(folder / "labels" / f"{name}.png", label)
    return root


def make_voc_tree(
    root: Path, num_train: int = 2, num_aug: int = 3, num_val: int = 2
) -> Path:
    """The VOC 2012 layout with SBD; palette PNGs from VOC, grey ones without 255."""
    numbers = {"train": num_train, "aug": num_aug, "val": num_val}
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for kind, (split, number) in enumerate(numbers.items()):
        names = [f"2007_{kind}{index:05d}" for index in range(number)]
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for index, name in enumerate(names):
            seed = 100 * kind + index
            save_image(root / "JPEGImages" / f"{name}.jpg", random_image(seed))
            label = random_label(seed, 21)
            # VOC's own masks are in both folders, as in the usual download.
            save_palette_png(root / "SegmentationClass" / f"{name}.png", label)
            without_border = np.where(label == 255, 0, label).astype(np.uint8)
            save_image(root / "SegmentationClassAug" / f"{name}.png", without_border)
            if split == "aug":
                (root / "SegmentationClass" / f"{name}.png").unlink()
    return root
