"""Makers of small data sets on disk, and scripts in this process, for all tests."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from gcnet_tf.commands import cli

CLASSES = ("ground", "tree", "house")


def draw_weights(model, rng: np.random.Generator, spread: float = 0.2) -> None:
    """Draws all weights but the kernels, so that no statistic or bias is neutral."""
    from gcnet_tf.weights.files import weights_by_path  # which imports Keras

    for path, weight in weights_by_path(model).items():
        if path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif not path.endswith("kernel"):
            weight.assign(rng.normal(0, spread, weight.shape))


def save_image(path: Path, pixels: np.ndarray, **options) -> Path:
    """Writes an image, also its folder; takes the options of Pillow's `save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_palette_png(path: Path, ids: np.ndarray, **options) -> Path:
    """Writes a palette PNG as Pascal VOC's; its colours differ from the ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", ids.shape[::-1], ids.astype(np.uint8).tobytes())
    image.putpalette(
        [(37 * i + shift) % 256 for i in range(256) for shift in (9, 99, 7)]
    )
    image.save(path, **options)
    return path


def random_image(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Draws a uint8 RGB image (height, width, 3)."""
    rng = np.random.default_rng([seed, 0])
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def random_label(
    seed: int, num_classes: int = 3, height: int = 24, width: int = 32
) -> np.ndarray:
    """Draws a uint8 label with the ids 0..num_classes-1 and 255, each somewhere."""
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
    """Writes the `folder` layout: JPEG images of 24x32, grey label PNGs."""
    for split, num_images in (("train", num_train), ("val", num_val)):
        for index in range(num_images):
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
    """Writes the VOC 2012 layout with SBD's masks.

    VOC's own masks are palette PNGs, those of SBD grey ones without 255.
    """
    sizes = {"train": num_train, "aug": num_aug, "val": num_val}
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for kind, (split, num_images) in enumerate(sizes.items()):
        names = [f"2007_{kind}{index:05d}" for index in range(num_images)]
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


def make_sbd(folder: Path, voc: Path) -> Path:
    """Writes SBD's `dataset` folder for a VOC tree.

    The masks are those of SegmentationClassAug. The lists hold all images of VOC's
    train, val and aug, divided in another way.
    """
    (folder / "cls").mkdir(parents=True)
    names = sorted(path.stem for path in (voc / "SegmentationClassAug").iterdir())
    for name in names:
        mask = np.asarray(Image.open(voc / "SegmentationClassAug" / f"{name}.png"))
        truth = {"Boundaries": np.zeros((20, 1), object), "Segmentation": mask}
        truth["CategoriesPresent"] = np.unique(mask)
        savemat(folder / "cls" / f"{name}.mat", {"GTcls": truth}, do_compression=True)
    for index, split in enumerate(("train", "val")):
        (folder / f"{split}.txt").write_text("\n".join(names[index::2]) + "\n")
    return folder


def make_cityscapes_tree(root: Path, label_ids: bool = True) -> Path:
    """Writes two cities with one image each, in both splits.

    Labels hold the ids 0..33, as downloaded. Without `label_ids` they hold training ids
    by the table in docs/reference.md.
    """
    train_ids = np.full(256, 255, np.uint8)
    for id_, train_id in zip(
        (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
        range(19),
        strict=True,
    ):
        train_ids[id_] = train_id
    ending = "labelIds" if label_ids else "labelTrainIds"
    for seed, (split, city) in enumerate(
        (split, city) for split in ("train", "val") for city in ("ulm", "aachen")
    ):
        name = f"{city}_000000_000019"
        ids = random_label(seed, 34)
        label = ids if label_ids else train_ids[ids]
        for kind, ending_, pixels in (
            ("leftImg8bit", "leftImg8bit", random_image(seed)),
            ("gtFine", f"gtFine_{ending}", label),
            ("gtFine", "gtFine_instanceIds", ids.astype(np.uint16) * 1000),
        ):
            save_image(root / kind / split / city / f"{name}_{ending_}.png", pixels)
    return root


def make_folder_config(path: Path, num_train: int = 3) -> Path:
    """Writes a folder data set beside `path`, and its configuration to `path`."""
    data = {
        "dataset": "folder",
        "root": str(make_folder_tree(path.parent / "source", num_train)),
        "records": str(path.parent / "records"),
        "classes": list(CLASSES),
    }
    path.write_text(json.dumps({"data": data}))
    return path


def call_script(name: str, *arguments: object) -> None:
    """Runs a script in this process, where TensorFlow has started already.

    The script's errors are raised here; an exit code other than 0 is an error as well.
    """
    main = cli.load_main(name)
    assert main([str(argument) for argument in arguments]) in (0, None)


def exit_code(name: str, *arguments: object) -> int:
    """Runs a script in this process to its exit, and returns the exit code.

    Errors are printed as for a user. This is for scripts that end before TensorFlow
    does anything; `script_server` is for all others.
    """
    main = cli.load_main(name)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        cli.run(lambda: main([str(argument) for argument in arguments]))
    assert isinstance(end.value.code, int)
    return end.value.code
