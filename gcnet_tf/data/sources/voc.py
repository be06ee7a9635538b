"""Pascal VOC 2012 with the masks of SBD, the Semantic Boundaries Dataset.

Training uses the images of VOC's own list and, after them, the images of which only SBD
has masks; see docs/reference.md, section 5.6.
"""

import io
import warnings
from collections.abc import Sequence
from itertools import chain
from os.path import isfile
from pathlib import Path

import numpy as np

from gcnet_tf.data.compact import Names, Rows, View
from gcnet_tf.data.sources.pairs import (
    Pair,
    count,
    paired,
    read_names,
    require_folder,
)
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.files.names import as_on_disk

# Folder of the lists, NAME.txt of each split, here and in exports of annotation tools.
LISTS = Path("ImageSets", "Segmentation")
# Places of SBD in the folder that VOC2012 is in: the one that mmsegmentation expects,
# and the one to which SBD's archive unpacks.
_SBD_FOLDERS = ("VOCaug/dataset", "benchmark_RELEASE/dataset")


def voc12aug_pairs(root: Path, split: str) -> Sequence[Pair]:
    """Returns the pairs of a split; "train" is VOC's list followed by SBD's.

    Raises:
        UserError: when a list is missing, when a file in a list is missing, or when
            lists overlap.
    """
    lists = root / LISTS
    require_folder(root / "JPEGImages")
    require_folder(root / "SegmentationClass")
    names = read_names(lists / f"{split}.txt")
    pairs = _pairs(root, names, root / "SegmentationClass", ".png")
    if split != "train":
        return pairs
    augmented = _augmented(root, names)
    if augmented is None:
        warnings.warn(
            f"The masks of SBD or their list are missing: {_SBD_FOLDERS[1]} in "
            f"{root.parent}, or SegmentationClassAug and aug.txt in {root}. The "
            f"{len(pairs)} images of VOC alone will not reach the published mIoU.",
            stacklevel=3,
        )
        return pairs
    repeated = Names(pair.name for pair in augmented if pair.name in names)
    if repeated:
        raise UserError(
            f"{some(repeated)} are listed for training twice: in train.txt and in "
            f"aug.txt of {lists}. aug.txt must list only images that are neither in "
            "VOC's train.txt nor in its val.txt."
        )
    return pairs + augmented


def _augmented(root: Path, train: Names) -> View[Pair] | None:
    """Returns the pairs that SBD adds; None if its masks or their list are missing."""
    sbd = _sbd_folder(root)
    names = _augmented_names(root / LISTS, train, sbd)
    if names is None:
        return None
    if (root / "SegmentationClassAug").is_dir():
        return _pairs(root, names, root / "SegmentationClassAug", ".png")
    return _pairs(root, names, sbd / "cls", ".mat") if sbd else None


def _sbd_folder(root: Path) -> Path | None:
    # The parent of the path and not of its target, because root may be a link to
    # another disk.
    folders = [root.absolute().parent / folder for folder in _SBD_FOLDERS]
    return next((folder for folder in folders if folder.is_dir()), None)


def _augmented_names(lists: Path, train: Names, sbd: Path | None) -> Names | None:
    """Returns the names that SBD adds to VOC's; None if there is no list of them.

    Some downloads contain trainaug.txt, which joins train.txt and aug.txt.
    """
    if (lists / "aug.txt").is_file():
        return read_names(lists / "aug.txt")
    if (lists / "trainaug.txt").is_file():
        names = read_names(lists / "trainaug.txt")
        return Names(name for name in names if name not in train)
    if sbd is None:
        return None
    val = read_names(lists / "val.txt")
    # Both lists, because SBD divides the images into train and val differently.
    sbd_names = chain(read_names(sbd / "train.txt"), read_names(sbd / "val.txt"))
    return Names(name for name in sbd_names if name not in train and name not in val)


def _pairs(root: Path, names: Names, masks: Path, ending: str) -> View[Pair]:
    images = root / "JPEGImages"
    rows = Rows(
        (
            name,
            str(as_on_disk(images / f"{name}.jpg")),
            str(as_on_disk(masks / f"{name}{ending}")),
        )
        for name in names
    )
    for column, (kind, folder) in enumerate((("image", images), ("label", masks)), 1):
        missing = Rows(row for row in rows if not isfile(row[column]))
        if missing:
            raise UserError(
                f"{count(missing, kind)} listed in {root / 'ImageSets'} or by SBD but "
                f"missing from {folder}: "
                f"{some(Path(row[column]).name for row in missing)}."
            )
    return paired(rows)


def read_sbd_mask(path: Path) -> np.ndarray:
    """Reads the class ids in one of SBD's cls/NAME.mat, uint8 (height, width).

    Raises:
        UserError: when the file cannot be read or does not hold a mask of class ids.
    """
    # Imported only here, because it takes longer than all our modules together.
    from scipy.io import loadmat

    try:
        file = io.BytesIO(path.read_bytes())
        mask = loadmat(file, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
        ids = mask.astype(np.uint8)
        if mask.ndim != 2 or not np.array_equal(ids, mask):
            raise ValueError("its mask is not a table of class ids")
    except MemoryError:
        raise
    # Like Pillow, scipy raises many kinds of error for a damaged file.
    except Exception as error:
        raise UserError(
            f"Cannot read {path} as a mask of SBD: {first_line(error)}. The file may "
            "be damaged or cut short; unpack the archive again."
        ) from error
    return ids
