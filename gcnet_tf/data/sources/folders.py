"""The search for the (image, label) pairs of a data set on the disk.

The layouts are those of docs/reference.md, section 5.6, and the exports of two
annotation tools.
"""

from pathlib import Path

from gcnet_tf.data.sources.annotation_tools import (
    NAMES_FILES,
    export_pairs,
    has_split_lists,
)
from gcnet_tf.data.sources.pairs import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    Pair,
    by_stem,
    match,
    match_stems,
    no_images,
    require_folder,
)
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.data.sources.voc import voc12aug_pairs
from gcnet_tf.errors import UserError, some

__all__ = [
    "ADE20K_FOLDERS",
    "CITYSCAPES_IMAGE",
    "CITYSCAPES_TRAIN_IDS",
    "IMAGE_SUFFIXES",
    "LABEL_IDS",
    "Pair",
    "by_ending",
    "find_pairs",
    "is_divided_by_share",
    "list_images",
]

# Ending of a Cityscapes label with the original ids, as downloaded.
LABEL_IDS = "_gtFine_labelIds.png"

ADE20K_FOLDERS = {"train": "training", "val": "validation"}
CITYSCAPES_IMAGE = "_leftImg8bit.png"
CITYSCAPES_TRAIN_IDS = "_gtFine_labelTrainIds.png"


def find_pairs(
    dataset: str,
    root: str | Path,
    split: str,
    *,
    val_share: float = 0.2,
    label_ids: bool = False,
) -> list[Pair]:
    """Returns the images of a split with their labels.

    Args:
        dataset: voc12aug, ade20k, cityscapes, shapes, folder, labelme or cvat.
        root: the data set's folder, `data.root` in a configuration.
        split: "train", "val" or another split that the folder has.
        val_share: where neither lists nor a folder val/ divide the images: the share
            of them that "val" gets; "train" gets the rest.
        label_ids: for cityscapes: prefers *_labelIds.png to *_labelTrainIds.png.

    Returns:
        The pairs sorted by name; those of voc12aug's "train" in two sorted parts, first
        VOC, then aug.

    Raises:
        UserError: when a folder is missing or empty, an image has no label or a label
            no image, or two images share a name.
    """
    finders = {
        "voc12aug": voc12aug_pairs,
        "ade20k": _ade20k,
        "cityscapes": lambda root, split: _cityscapes(root, split, label_ids),
        "shapes": lambda root, split: _folder(root, split, val_share),
        "folder": lambda root, split: _folder(root, split, val_share),
        "labelme": lambda root, split: export_pairs("labelme", root, split, val_share),
        "cvat": lambda root, split: export_pairs("cvat", root, split, val_share),
    }
    if dataset not in finders:
        known = ", ".join(finders)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    root = Path(root)
    require_folder(root)
    return finders[dataset](root, split)


def list_images(path: Path) -> list[Path]:
    """Returns the image file at `path`, or all image files in that folder, sorted.

    Raises:
        UserError: when there is no image, or when two images differ only in the ending
            of their names.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no image file or folder at {path}.")
    images = list(by_stem(path, IMAGE_SUFFIXES).values())
    if not images:
        raise no_images(path)
    return images


def is_divided_by_share(dataset: str, root: Path) -> bool:
    """Tells whether data.val_share decides about the splits of a folder."""
    if dataset in NAMES_FILES:
        return not has_split_lists(root)
    return dataset in ("folder", "shapes") and not (root / "val").exists()


def _folder(root: Path, split: str, val_share: float) -> list[Pair]:
    if split not in ("train", "val") or not is_divided_by_share("folder", root):
        return match_stems(root / split / "images", root / split / "labels")
    if 0 < val_share < 1:
        _require_no_other_split(root)
    images, labels = root / "train" / "images", root / "train" / "labels"
    require_folder(images)
    require_folder(labels)
    image_of = by_stem(images, IMAGE_SUFFIXES)
    label_of = by_stem(labels, LABEL_SUFFIXES)
    names = names_of_share({*image_of, *label_of}, split, val_share, images)
    return match(
        {name: path for name, path in image_of.items() if name in names},
        {name: path for name, path in label_of.items() if name in names},
        images,
        labels,
    )


def _require_no_other_split(root: Path) -> None:
    """Refuses a folder such as valid/, which may be the validation set."""
    others = {path.parent.name for path in root.glob("*/images")} - {"train", "test"}
    if others:
        raise UserError(
            f"{root} has no folder val, but {some(sorted(others))}. Rename the "
            "validation set to val, or move the folder away to keep the share "
            "data.val_share of the training images for validation."
        )


def _ade20k(root: Path, split: str) -> list[Pair]:
    folder = ADE20K_FOLDERS.get(split, split)
    return match_stems(root / "images" / folder, root / "annotations" / folder)


def _cityscapes(root: Path, split: str, label_ids: bool) -> list[Pair]:
    """Returns the pairs of Cityscapes.

    Images and labels are in one folder per city and have different endings.
    """
    images = root / "leftImg8bit" / split
    labels = root / "gtFine" / split
    require_folder(images)
    require_folder(labels)
    image_of = by_ending(images, CITYSCAPES_IMAGE)
    endings = [CITYSCAPES_TRAIN_IDS, LABEL_IDS]
    labels_of = [by_ending(labels, ending) for ending in endings]
    preferred, other = reversed(labels_of) if label_ids else labels_of
    return match(image_of, preferred or other, images, labels)


def by_ending(folder: Path, ending: str) -> dict[str, Path]:
    """Returns the files below `folder` with this ending, by the rest of their names."""
    return {path.name.removesuffix(ending): path for path in folder.rglob(f"*{ending}")}
