"""The search for the (image, label) pairs of a data set on the disk.

The layouts are those of docs/reference.md, section 5.6, and the exports of two
annotation tools.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from gcnet_tf.data.compact import Names
from gcnet_tf.data.sources.annotation_tools import (
    NAMES_FILES,
    export_pairs,
    export_splits,
)
from gcnet_tf.data.sources.arranged import (
    is_shared,
    list_place,
    place,
    places_of,
    require_no_other_split,
)
from gcnet_tf.data.sources.files import image_names, names_below, sub_folders
from gcnet_tf.data.sources.pairs import (
    SPLITS,
    Files,
    Pair,
    by_ending,
    joined,
    match,
    match_stems,
    only,
    require_folder,
)
from gcnet_tf.data.sources.share import names_of_share
from gcnet_tf.data.sources.splits import split_of
from gcnet_tf.data.sources.voc import LISTS, voc12aug_pairs
from gcnet_tf.errors import UserError

# Ending of a Cityscapes label with the original ids, as downloaded.
LABEL_IDS = "_gtFine_labelIds.png"

# The layouts of one's own images and label files.
ARRANGED = ("shapes", "folder", "beside")

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
    without_shapes: str = "leave_out",
) -> Sequence[Pair]:
    """Returns the images of a split with their labels.

    Args:
        dataset: voc12aug, ade20k, cityscapes, shapes, folder, beside, labelme or cvat.
        root: the data set's folder, `data.root` in a configuration.
        split: "train", "val" or another split that the folder has.
        val_share: where neither lists nor a folder val/ divide the images: the share
            of them that "val" gets; "train" gets the rest.
        label_ids: for cityscapes: prefers *_labelIds.png to *_labelTrainIds.png.
        without_shapes: for cvat: as data.without_shapes in a configuration.

    Returns:
        The pairs sorted by name; those of voc12aug's "train" in two sorted parts, first
        VOC, then aug.

    Raises:
        UserError: when a folder is missing or empty, an image has no label or a label
            no image, two images share a name, or the data set has no such split.
    """
    finders = {
        "voc12aug": voc12aug_pairs,
        "ade20k": _ade20k,
        "cityscapes": lambda root, split: _cityscapes(root, split, label_ids),
        "shapes": lambda root, split: _arranged("shapes", root, split, val_share),
        "folder": lambda root, split: _arranged("folder", root, split, val_share),
        "beside": lambda root, split: _arranged("beside", root, split, val_share),
        "labelme": lambda root, split: export_pairs("labelme", root, split, val_share),
        "cvat": lambda root, split: export_pairs(
            "cvat", root, split, val_share, without_shapes
        ),
    }
    if dataset not in finders:
        known = ", ".join(finders)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    root = Path(root)
    require_folder(root)
    _require_split(dataset, root, split)
    return finders[dataset](root, split)


def _require_split(dataset: str, root: Path, split: str) -> None:
    """Checks that a data set has a split; "train" and "val" are left to the finders.

    A split that is not there must never become the images of another one: a path like
    "train/ulm", a name of a folder like ADE20K's "training", or a word that an export
    without lists does not know.

    Raises:
        UserError: when it does not have it; the message lists those that it has.
    """
    splits = list(dict.fromkeys([*SPLITS, *sorted(_further_splits(dataset, root))]))
    if split in splits:
        return
    reason = ""
    if dataset in NAMES_FILES and not export_splits(root):
        reason = " It has no lists of splits, so that data.val_share makes these two."
    raise UserError(
        f'{root} has no split "{split}"; allowed: {", ".join(splits)}.{reason}'
    )


def _further_splits(dataset: str, root: Path) -> list[str]:
    if dataset in NAMES_FILES:
        return export_splits(root)
    if dataset == "voc12aug":
        return [path.stem for path in (root / LISTS).glob("*.txt")]
    if dataset == "cityscapes":
        return sub_folders(root / "leftImg8bit")
    if dataset == "ade20k":
        own_names = set(ADE20K_FOLDERS.values())
        return list(set(sub_folders(root / "images")) - own_names)
    return sorted(split_of(name) or name for name in places_of(dataset, root) if name)


def is_divided_by_share(dataset: str, root: Path) -> bool:
    """Tells whether data.val_share decides about the splits of a folder."""
    if dataset in NAMES_FILES:
        return not export_splits(root)
    return dataset in ARRANGED and is_shared(places_of(dataset, root))


def _arranged(dataset: str, root: Path, split: str, val_share: float) -> Sequence[Pair]:
    places = places_of(dataset, root)
    images, labels = place(places, root, split)
    image_of, label_of = list_place(images, labels)
    if split in SPLITS and is_shared(places):
        if 0 < val_share < 1:
            require_no_other_split(places, root)
        names = shared_names(image_of, label_of, split, val_share)
        image_of, label_of = only(names, image_of), only(names, label_of)
    return match(image_of, label_of)


def shared_names(
    image_of: Files, label_of: Files, split: str, val_share: float
) -> Collection[str]:
    """Returns the names, of images and labels, that data.val_share gives a split."""
    all_names = Names(name for name, _, _ in joined(image_of, label_of))
    return names_of_share(all_names, split, val_share, image_of.folder)


def _ade20k(root: Path, split: str) -> Sequence[Pair]:
    folder = ADE20K_FOLDERS.get(split, split)
    return match_stems(root / "images" / folder, root / "annotations" / folder)


def _cityscapes(root: Path, split: str, label_ids: bool) -> Sequence[Pair]:
    """Returns the pairs of Cityscapes.

    Images and labels are in one folder per city and have different endings.
    """
    images = root / "leftImg8bit" / split
    labels = root / "gtFine" / split
    require_folder(images)
    require_folder(labels)
    image_of = by_ending(
        image_names(images, CITYSCAPES_IMAGE), images, CITYSCAPES_IMAGE
    )
    return match(image_of, cityscapes_labels(labels, label_ids))


def cityscapes_labels(folder: Path, label_ids: bool = False) -> Files:
    """Returns the labels of the preferred kind, or of the other if there are none."""
    endings = [CITYSCAPES_TRAIN_IDS, LABEL_IDS]
    for ending in reversed(endings) if label_ids else endings:
        label_of = by_ending(names_below(folder), folder, ending)
        if label_of:
            break
    return label_of
