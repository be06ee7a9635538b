"""The search for the (image, label) pairs of a data set on the disk.

The layouts are those of docs/reference.md, section 5.6, and the exports of two
annotation tools.
"""

from pathlib import Path

from gcnet_tf.data.sources.annotation_tools import export_pairs
from gcnet_tf.data.sources.pairs import (
    IMAGE_SUFFIXES,
    Pair,
    match,
    match_stems,
    require_folder,
)
from gcnet_tf.data.sources.voc import voc12aug_pairs
from gcnet_tf.errors import UserError

__all__ = [
    "ADE20K_FOLDERS",
    "CITYSCAPES_IMAGE",
    "CITYSCAPES_TRAIN_IDS",
    "IMAGE_SUFFIXES",
    "LABEL_IDS",
    "Pair",
    "by_ending",
    "find_pairs",
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
        val_share: for labelme and cvat without lists: the share of the images that
            "val" gets; "train" gets the rest.
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
        "shapes": _folder,
        "folder": _folder,
        "labelme": lambda root, split: export_pairs("labelme", root, split, val_share),
        "cvat": lambda root, split: export_pairs("cvat", root, split, val_share),
    }
    if dataset not in finders:
        known = ", ".join(finders)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    root = Path(root)
    require_folder(root)
    return finders[dataset](root, split)


def _folder(root: Path, split: str) -> list[Pair]:
    return match_stems(root / split / "images", root / split / "labels")


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
