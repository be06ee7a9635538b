"""Folders of images and label files, in the arrangements that people use.

  SPLIT/images  SPLIT/labels      images/SPLIT  labels/SPLIT      images  labels
  img_dir/SPLIT  ann_dir/SPLIT (mmsegmentation)    NAME.jpg beside NAME_mask.png

Folders may have other usual names, such as masks/ or annotations/. A label has its
image's name, with or without the image's ending, or with an ending such as _mask.
"""

from collections.abc import Collection, Container, Iterable
from pathlib import Path

from gcnet_tf.data.compact import Names, Rows, in_order
from gcnet_tf.data.sources.files import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    entries,
    has_ending,
    image_names,
    label_names,
    names_below,
    sub_folders,
)
from gcnet_tf.data.sources.pairs import (
    Files,
    by_stem,
    named_files,
    require_folder,
    stem,
)
from gcnet_tf.data.sources.splits import UNDIVIDED, folder_of_split, split_of
from gcnet_tf.errors import UserError, some

# In lower case, the usual ones first; the first label folder with labels is taken.
# VOC's are not among them, because the lists beside them make the splits.
IMAGE_FOLDERS = ("images", "img_dir", "imgs", "img", "image")
LABEL_FOLDERS = (
    *("labels", "ann_dir", "masks", "annotations", "mask", "label"),
    *("segmentations", "gt"),
)
# Endings of labels after the image's name.
_ENDINGS = ("_mask", "_label", "_labels", "_seg", "-mask", *IMAGE_SUFFIXES)

# The folders of images and labels of each split folder; UNDIVIDED if there is none.
Places = dict[str, tuple[Path, Path]]


def folder_places(root: Path, suffixes: Collection[str] = LABEL_SUFFIXES) -> Places:
    """Returns the folders of images and labels of each split.

    Args:
        root: the folder of the data.
        suffixes: endings of the labels, in lower case.

    Raises:
        UserError: when images lie beside the folders of splits.
    """
    images = _images_folder(root)
    folders = sub_folders(root)
    divided = [name for name in folders if _images_folder(root / name)]
    if divided and (images is None or folder_of_split(divided, "train")):
        # A split without images is named when it is asked for.
        all_names = {*divided, *(name for name in folders if split_of(name))}
        return {
            name: (
                _images_folder(root / name) or root / name / IMAGE_FOLDERS[0],
                _labels_folder(root / name, suffixes),
            )
            for name in sorted(all_names)
        }
    if images is None:
        return {}
    labels = _labels_folder(root, suffixes)
    splits = sorted(sub_folders(images))
    if any(map(split_of, splits)):
        _require_no_strays(images)
        return {name: (images / name, labels / name) for name in splits}
    return {UNDIVIDED: (images, labels)}


def beside_places(root: Path) -> Places:
    """Returns the folders in which labels lie beside their images, by split."""
    splits = sorted(sub_folders(root))
    if any(map(split_of, splits)):
        _require_no_strays(root)
        return {name: (root / name, root / name) for name in splits}
    return {UNDIVIDED: (root, root)}


def _require_no_strays(folder: Path) -> None:
    """Refuses images beside the folders of splits, which would belong to none.

    Raises:
        UserError: when there are some.
    """
    names = sorted(
        entry.name
        for entry in entries(folder)
        if has_ending(entry.name, IMAGE_SUFFIXES)
    )
    if names:
        raise UserError(
            f"{folder} has folders of splits, and images that are in none: "
            f"{some(names)}. Move them into one of the folders, or away."
        )


def places_of(dataset: str, root: Path) -> Places:
    """Returns the places of "beside", or of a folder layout."""
    return beside_places(root) if dataset == "beside" else folder_places(root)


def place(places: Places, root: Path, split: str) -> tuple[Path, Path]:
    """Returns the folders that a split's images and labels are in.

    Where there is no validation set, these are those of all images.

    Raises:
        UserError: when the split has none.
    """
    name = folder_of_split(places, split)
    if name is None and split in ("train", "val") and is_shared(places):
        name = UNDIVIDED if UNDIVIDED in places else folder_of_split(places, "train")
    if name is None:
        images = root / split / "images"
        require_folder(images)
        raise UserError(f"{images} has no folder of labels beside it.")
    return places[name]


def is_shared(places: Places) -> bool:
    """Tells whether data.val_share divides the images, for want of a val set."""
    return folder_of_split(places, "val") is None


def list_place(images: Path, labels: Path) -> tuple[Files, Files]:
    """Lists images and labels, each by the image's name.

    Raises:
        UserError: when a folder is missing, or two files share a name.
    """
    for folder in (images, labels):
        require_folder(folder)
    if images == labels:
        return _list_beside(images)
    image_of = by_stem(image_names(images), images)
    return image_of, _by_image(label_names(labels), labels, image_of)


def _list_beside(folder: Path) -> tuple[Files, Files]:
    paths = (path for path in names_below(folder) if has_ending(path, IMAGE_SUFFIXES))
    pictures = Rows(in_order((stem(path), path) for path in paths))
    names = Names(name for name, _ in pictures)
    images, labels = Rows(), Rows()
    for name, path in pictures:
        of_image = _without_ending(name, names)
        is_label = of_image != name and has_ending(path, LABEL_SUFFIXES)
        (labels if is_label else images).append((name, path))
    del pictures, names  # of which there may be millions
    image_of = named_files(images, folder)
    return image_of, _by_image((path for _, path in labels), folder, image_of)


def _by_image(paths: Iterable[str], folder: Path, names: Container[str]) -> Files:
    # In order, because neighbours are found in the same packed block of names.
    rows = in_order((stem(path), path) for path in paths)
    return named_files(((_without_ending(n, names), p) for n, p in rows), folder)


def _without_ending(name: str, images: Container[str]) -> str:
    """Returns the name of a label's image; the label's own if there is none."""
    if not name.lower().endswith(_ENDINGS):
        return name
    shorter = [
        name[: -len(ending)] for ending in _ENDINGS if name.lower().endswith(ending)
    ]
    return next((short for short in shorter if short in images), name)


def _images_folder(folder: Path) -> Path | None:
    return next(iter(_named(folder, IMAGE_FOLDERS)), None)


def _labels_folder(folder: Path, suffixes: Collection[str]) -> Path:
    """Returns the first folder of labels that holds any, or where it should be."""
    folders = _named(folder, LABEL_FOLDERS)
    for labels in folders:
        if any(has_ending(path, suffixes) for path in names_below(labels)):
            return labels
    return (folders or [folder / LABEL_FOLDERS[0]])[0]


def _named(folder: Path, names: Iterable[str]) -> list[Path]:
    """Returns the sub-folders with one of the names in any case, in their order."""
    by_name = {name.lower(): folder / name for name in sorted(sub_folders(folder))}
    return [by_name[name] for name in names if name in by_name]


def require_no_other_split(places: Places, root: Path) -> None:
    """Refuses a folder such as holdout/, which may be the validation set.

    Raises:
        UserError: when there is one.
    """
    others = [name for name in places if name != UNDIVIDED and not split_of(name)]
    if others:
        raise UserError(
            f"{root} has no folder val, but {some(sorted(others))}. Rename the "
            "validation set to val, or move the folder away to keep the share "
            "data.val_share of the training images for validation."
        )
