"""Finding the (image, label) pairs of a data set on disk.

The layouts are those of the parity specification, section 5.6.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gcnet_tf.errors import UserError

# In lower case; files may spell them in any case.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

_LABEL_SUFFIXES = frozenset({".png"})
_NUM_SHOWN = 5
_NUM_VOC12AUG_TRAIN = 10582
_ADE20K_FOLDERS = {"train": "training", "val": "validation"}
_CITYSCAPES_IMAGE = "_leftImg8bit.png"
_CITYSCAPES_LABEL = "_gtFine_labelTrainIds.png"


@dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
        name: unique within the split; the image's file name without its ending.
        image: path of the image.
        label: path of the label, a PNG.
    """

    name: str
    image: Path
    label: Path


def find_pairs(dataset: str, root: str | Path, split: str) -> list[Pair]:
    """Lists the images of a split with their labels.

    Args:
        dataset: voc12aug, ade20k, cityscapes, shapes or folder.
        root: the data set's folder, `data.root` in a configuration.
        split: "train" or "val", or another one that the folder has.

    Returns:
        The pairs sorted by name; for voc12aug's "train" in two parts, VOC before aug.

    Raises:
        UserError: when a folder is missing or empty, an image has no label or a label
            no image, or two images share a name.
    """
    finders = {
        "voc12aug": _voc12aug,
        "ade20k": _ade20k,
        "cityscapes": _cityscapes,
        "shapes": _folder,
        "folder": _folder,
    }
    if dataset not in finders:
        known = ", ".join(finders)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    root = Path(root)
    _require_folder(root)
    return finders[dataset](root, split)


def list_images(path: Path) -> list[Path]:
    """The image file at `path`, or all image files in that folder, sorted.

    Raises:
        UserError: when there is nothing, or two images have the same name but for the
            ending.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no image file or folder at {path}.")
    images = list(_by_stem(path, IMAGE_SUFFIXES).values())
    if not images:
        raise _no_images(path)
    return images


def _folder(root: Path, split: str) -> list[Pair]:
    return _match_stems(root / split / "images", root / split / "labels")


def _ade20k(root: Path, split: str) -> list[Pair]:
    folder = _ADE20K_FOLDERS.get(split, split)
    return _match_stems(root / "images" / folder, root / "annotations" / folder)


def _cityscapes(root: Path, split: str) -> list[Pair]:
    """Images and labels lie in one folder per city, and end differently."""
    images = root / "leftImg8bit" / split
    labels = root / "gtFine" / split
    _require_folder(images)
    _require_folder(labels)
    image_of = _by_name(images, _CITYSCAPES_IMAGE)
    label_of = _by_name(labels, _CITYSCAPES_LABEL)
    if not label_of and _by_name(labels, "_gtFine_labelIds.png"):
        raise UserError(
            f"{labels} has *_labelIds.png files, but not the *{_CITYSCAPES_LABEL} that "
            "training needs; run `pip install cityscapesscripts` and "
            f"`CITYSCAPES_DATASET={root} csCreateTrainIdLabelImgs`."
        )
    return _match(image_of, label_of, images, labels)


def _by_name(folder: Path, ending: str) -> dict[str, Path]:
    """The files in the sub-folders of `folder` that end so, by the rest of the name."""
    return {path.name.removesuffix(ending): path for path in folder.rglob(f"*{ending}")}


def _voc12aug(root: Path, split: str) -> list[Pair]:
    lists = root / "ImageSets" / "Segmentation"
    _require_folder(root / "JPEGImages")
    _require_folder(root / "SegmentationClass")
    names = _read_names(lists / f"{split}.txt")
    pairs = _voc_pairs(root, names, "SegmentationClass")
    if split != "train":
        return pairs
    augmented = _augmented_names(root, lists, names)
    if augmented is None:
        warnings.warn(
            f"{root} lacks ImageSets/Segmentation/aug.txt or SegmentationClassAug: "
            f"training uses {len(pairs)} images instead of {_NUM_VOC12AUG_TRAIN} and "
            "will not reach the published mIoU.",
            stacklevel=3,
        )
        return pairs
    both = sorted(set(names) & set(augmented))
    if both:
        raise UserError(
            f"{_some(both)} are listed for training twice: in train.txt and in aug.txt "
            f"of {lists}. aug.txt must list only the images that VOC's train.txt and "
            "val.txt do not."
        )
    return pairs + _voc_pairs(root, augmented, "SegmentationClassAug")


def _augmented_names(root: Path, lists: Path, train: list[str]) -> list[str] | None:
    """The names that SBD adds to VOC's; None when SBD is not there.

    Some downloads bring trainaug.txt, which is train.txt and aug.txt in one.
    """
    if not (root / "SegmentationClassAug").is_dir():
        return None
    if (lists / "aug.txt").is_file():
        return _read_names(lists / "aug.txt")
    if (lists / "trainaug.txt").is_file():
        return sorted(set(_read_names(lists / "trainaug.txt")) - set(train))
    return None


def _read_names(path: Path) -> list[str]:
    """The sorted names in a list of VOC's, one per line."""
    if not path.is_file():
        raise UserError(f"{path} is missing; it lists the images of its split.")
    names = sorted(path.read_text(encoding="utf-8").split())
    if not names:
        raise UserError(f"{path} is empty; it lists the images of its split.")
    repeated = sorted({a for a, b in zip(names, names[1:]) if a == b})
    if repeated:
        raise UserError(f"{path} lists {_some(repeated)} more than once.")
    return names


def _voc_pairs(root: Path, names: list[str], label_folder: str) -> list[Pair]:
    pairs = [
        Pair(
            name,
            root / "JPEGImages" / f"{name}.jpg",
            root / label_folder / f"{name}.png",
        )
        for name in names
    ]
    for kind in ("image", "label"):
        paths = [getattr(pair, kind) for pair in pairs]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise UserError(
                f"{_count(missing, kind)} listed in {root / 'ImageSets'} missing from "
                f"{paths[0].parent}: {_some(missing)}."
            )
    return pairs


def _match_stems(images: Path, labels: Path) -> list[Pair]:
    """Pairs the files of two folders by their names without the ending."""
    for folder in (images, labels):
        _require_folder(folder)
    return _match(
        _by_stem(images, IMAGE_SUFFIXES),
        _by_stem(labels, _LABEL_SUFFIXES),
        images,
        labels,
    )


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        # macOS leaves hidden ._NAME.jpg files that are not images.
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(
                f"{found[path.stem].name} and {path.name} in {folder} have the same "
                "name but for the ending, so that they would share a label; rename one."
            )
        found[path.stem] = path
    return found


def _match(
    image_of: dict[str, Path], label_of: dict[str, Path], images: Path, labels: Path
) -> list[Pair]:
    if not image_of:
        raise _no_images(images)
    unlabelled = sorted(set(image_of) - set(label_of))
    if unlabelled:
        raise UserError(
            f"{_count(unlabelled, 'image')} in {images} without a label: "
            f"{_some(image_of[name].name for name in unlabelled)}. A label is a PNG of "
            f"the image's name in {labels}; add the labels or move the images away."
        )
    unused = sorted(set(label_of) - set(image_of))
    if unused:
        raise UserError(
            f"{_count(unused, 'label')} in {labels} without an image in {images}: "
            f"{_some(label_of[name].name for name in unused)}. Add the images or move "
            "the labels away."
        )
    return [Pair(name, image_of[name], label_of[name]) for name in sorted(image_of)]


def _no_images(folder: Path) -> UserError:
    endings = ", ".join(sorted(IMAGE_SUFFIXES))
    return UserError(f"No images in {folder}; looked for files ending in {endings}.")


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"The folder {folder} {state}; check data.root and the split.")


def _count(items: list[str], noun: str) -> str:
    return f"1 {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"


def _some(names: Iterable[str]) -> str:
    """Up to five of the names."""
    names = list(names)
    shown = ", ".join(names[:_NUM_SHOWN])
    rest = len(names) - _NUM_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
