"""Miniature validation sets in the exact layouts of the published data sets.

Needs numpy and Pillow only, so that both implementations read the same files.
"""

from pathlib import Path

import numpy as np
from drawn import draw_image, draw_label
from PIL import Image

IMAGE_SEED = 31
# Side of the blocks of a class, and the number of classes that occur.
_BLOCK, _NUM_SHOWN = 16, 6
# (height, width), upright ones too.
SIZES = ((48, 64), (64, 48), (52, 70))
# Ids of Cityscapes' labelIds and the classes that they train, in order; others are not
# trained (docs/reference.md).
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31)
CITYSCAPES_IDS += (32, 33)


def voc12aug(root: Path) -> None:
    """Writes VOC2012 as its archive has it: lists, JPEGs, palette PNGs."""
    names = [f"2007_{index:06d}" for index in range(len(SIZES))]
    for index, name in enumerate(names):
        _save(root / "JPEGImages" / f"{name}.jpg", _image(index))
        ids = Image.fromarray(_label(index, 21), "P")
        ids.putpalette(bytes((7 * value) % 256 for value in range(768)))
        _save(root / "SegmentationClass" / f"{name}.png", ids)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("".join(f"{name}\n" for name in names))


def ade20k(root: Path) -> None:
    """Writes ADEChallengeData2016: ids from 1 on, 0 for what is no class."""
    for index in range(len(SIZES)):
        name = f"ADE_val_{index + 1:08d}"
        _save(root / "images" / "validation" / f"{name}.jpg", _image(index))
        # 255 becomes 0: `draw_label` draws 255 as one class of many.
        label = _label(index, 150).astype(np.int64) + 1
        label[label == 256] = 0
        path = root / "annotations" / "validation" / f"{name}.png"
        _save(path, Image.fromarray(label.astype(np.uint8)))


def cityscapes(root: Path, train_ids: bool = False) -> None:
    """Writes leftImg8bit and gtFine with labelIds, as downloaded.

    Args:
        root: the folder.
        train_ids: writes labelTrainIds as well, which the reference needs.
    """
    table = np.full(256, 255, np.uint8)
    table[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    for index, city in enumerate(("frankfurt", "lindau", "munster")):
        name = f"{city}_000000_000019"
        image = root / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png"
        _save(image, _image(index))
        ids = _label(index, 34)
        ids[ids == 255] = 0
        labels = root / "gtFine" / "val" / city
        _save(labels / f"{name}_gtFine_labelIds.png", Image.fromarray(ids))
        if train_ids:
            path = labels / f"{name}_gtFine_labelTrainIds.png"
            _save(path, Image.fromarray(table[ids]))


# Writers by the names of the data sets.
TREES = {"voc12aug": voc12aug, "ade20k": ade20k, "cityscapes": cityscapes}


def _image(index: int) -> Image.Image:
    """Draws an image that shows the classes of `_label` in colours of their own."""
    noise = draw_image(IMAGE_SEED + index, *SIZES[index]).astype(np.int64)
    colours = draw_image(IMAGE_SEED, _NUM_SHOWN + 1, 1)[:, 0].astype(np.int64)
    return Image.fromarray(
        ((3 * colours[_blocks(index)] + noise) // 4).astype(np.uint8)
    )


def _label(index: int, num_classes: int) -> np.ndarray:
    """Draws classes that are spread over all ids, and 255; uint8 (height, width)."""
    ids = np.arange(_NUM_SHOWN) * (num_classes - 1) // (_NUM_SHOWN - 1)
    return np.append(ids, 255)[_blocks(index)].astype(np.uint8)


def _blocks(index: int) -> np.ndarray:
    """Draws the number of the class of each pixel; the last one is "not labelled"."""
    height, width = SIZES[index]
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    # `draw_label` draws blocks of 7.
    blocks = draw_label(IMAGE_SEED + index, 7 * rows, 7 * columns, _NUM_SHOWN)[::7, ::7]
    blocks = np.minimum(blocks, _NUM_SHOWN).repeat(_BLOCK, axis=0)
    return blocks.repeat(_BLOCK, axis=1)[:height, :width]


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)
