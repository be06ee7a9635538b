"""What is known about each data set: classes, colours, split sizes, how to get it.

The number of classes has its one home here; the configuration names a data set only.
Facts and colours: parity specification, sections 5.6 and 7.1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from gcnet_tf.config import DataConfig
from gcnet_tf.errors import UserError

IGNORE_LABEL = 255
NOT_ALLOWED = -1

_LABELS_FOLDER = Path(__file__).parent / "labels"


@dataclass(frozen=True)
class DatasetFacts:
    """Everything about a data set that does not depend on where it lies.

    Attributes:
        name: as in the configuration's data.dataset.
        classes: names in the order of the training ids 0..num_classes-1.
        palette: one (red, green, blue) in 0..255 per class. Colours may repeat, as in
            ADE20K, so a colour does not give its class back.
        num_images: known sizes, by split; empty when unknown.
        label_map: 256 entries from the id in a label file to the training id,
            IGNORE_LABEL to ignore it, NOT_ALLOWED to refuse it. None: files hold
            training ids 0..num_classes-1 and IGNORE_LABEL already.
        instructions: what to download, where to put it and what to run next, for
            `str.format(root=...)`.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    instructions: str
    num_images: dict[str, int] = field(default_factory=dict)
    label_map: tuple[int, ...] | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def dataset_facts(
    dataset: str,
    classes: Sequence[str] = (),
    palette: Sequence[tuple[int, int, int]] = (),
) -> DatasetFacts:
    """Returns the facts about a data set.

    Args:
        dataset: voc12aug, ade20k, cityscapes, shapes or folder.
        classes: for "folder" only: class names in the order of their ids.
        palette: for "folder" only: one colour per class, or empty for automatic ones.

    Raises:
        UserError: when the data set is unknown, or classes or palette do not fit it.
    """
    if dataset == "folder":
        return _folder_facts(tuple(classes), tuple(palette))
    if dataset not in _INSTRUCTIONS:
        known = ", ".join(_INSTRUCTIONS)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    if classes or palette:
        raise UserError(
            f"data.classes and data.palette: received values, but {dataset} brings its "
            "own; leave them out."
        )
    known_classes, known_palette = _read_labels(dataset)
    return DatasetFacts(
        name=dataset,
        classes=known_classes,
        palette=known_palette,
        instructions=_INSTRUCTIONS[dataset],
        num_images=dict(_NUM_IMAGES.get(dataset, {})),
        label_map=_LABEL_MAPS.get(dataset),
    )


def facts_of(data: DataConfig) -> DatasetFacts:
    """`dataset_facts` of the data set that a configuration names."""
    return dataset_facts(data.dataset, data.classes, data.palette)


def automatic_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Distinct colours for 1 to 256 classes: the bits of the id, as Pascal VOC does.

    Bit 3k of the id becomes bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue, so
    that neighbouring ids look different and id 0 is black.
    """
    return tuple(
        (_every_third_bit(i), _every_third_bit(i >> 1), _every_third_bit(i >> 2))
        for i in range(num_classes)
    )


def _every_third_bit(number: int) -> int:
    """Bits 0, 3, 6 of a number as bits 7, 6, 5."""
    return sum((number >> (3 * k) & 1) << (7 - k) for k in range(3))


def _folder_facts(
    classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...]
) -> DatasetFacts:
    if not classes:
        raise UserError(
            "data.classes: received no names; dataset 'folder' needs them in the order "
            "of the ids in the label images."
        )
    if palette and len(palette) != len(classes):
        raise UserError(
            f"data.palette: received {len(palette)} colours for {len(classes)} "
            "classes; give one per class, or none for automatic colours."
        )
    return DatasetFacts(
        name="folder",
        classes=classes,
        palette=palette or automatic_palette(len(classes)),
        instructions=_INSTRUCTIONS["folder"],
    )


@cache
def _read_labels(
    dataset: str,
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    path = _LABELS_FOLDER / f"{dataset}.json"
    labels = json.loads(path.read_text(encoding="utf-8"))
    palette = tuple((red, green, blue) for red, green, blue in labels["palette"])
    return tuple(labels["classes"]), palette


_NUM_IMAGES = {
    "voc12aug": {"train": 10582, "val": 1449},
    "ade20k": {"train": 20210, "val": 2000},
    "cityscapes": {"train": 2975, "val": 500},
}

# ADE20K files hold 0 for "other" and 1..150 for the classes. The reference computes
# this in 8-bit arithmetic, so that 255 stays 255.
_ADE20K_MAP = tuple(
    IGNORE_LABEL if k in (0, 255) else k - 1 if k <= 150 else NOT_ALLOWED
    for k in range(256)
)

_LABEL_MAPS = {"ade20k": _ADE20K_MAP}

_NEXT_COMMANDS = """\
Then run the same command again; or only convert, with the configuration in use:
  python scripts/make_tfrecords.py --cfg CONFIG
Is it in another place already? Add --set data.root=FOLDER."""

_INSTRUCTIONS = {
    "voc12aug": f"""\
Pascal VOC 2012 with the SBD masks (10582 training and 1449 validation images).

1. Images and masks, 2 GB:
   http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar
   Unpack it; its folder VOCdevkit/VOC2012 belongs at {{root}}
2. Additional training masks (SBD), 1.4 GB; without them training has VOC's own 1464
   images and stays below the published mIoU:
   http://home.bharathh.info/pubs/codes/SBD/download.html
   Convert each cls/NAME.mat to SegmentationClassAug/NAME.png, and list the new names
   in aug.txt (mmsegmentation's tools/dataset_converters/voc_aug.py does both).

Expected:
  {{root}}
    JPEGImages/2007_000032.jpg ...
    SegmentationClass/2007_000032.png ...       palette or index PNG, 255 = border
    SegmentationClassAug/2008_000002.png ...    from SBD
    ImageSets/Segmentation/train.txt  val.txt   from VOC
    ImageSets/Segmentation/aug.txt              9118 names, from SBD

{_NEXT_COMMANDS}""",
    "ade20k": f"""\
ADE20K, the scene parsing release of 2016 (20210 training and 2000 validation images).

1. Images and masks, 0.9 GB:
   http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip
   Unpack it; its folder ADEChallengeData2016 belongs at {{root}}

Expected:
  {{root}}
    images/training/ADE_train_00000001.jpg ...
    images/validation/ADE_val_00000001.jpg ...
    annotations/training/ADE_train_00000001.png ...    0 = other, 1..150 = classes
    annotations/validation/ADE_val_00000001.png ...

{_NEXT_COMMANDS}""",
    "cityscapes": f"""\
Cityscapes, fine annotations (2975 training and 500 validation images).

1. After registering, gtFine_trainvaltest.zip (0.2 GB) and
   leftImg8bit_trainvaltest.zip (11 GB) from
   https://www.cityscapes-dataset.com/downloads/
   Unpack both into {{root}}
2. Make the label images with training ids, which are not in the download:
   pip install cityscapesscripts
   CITYSCAPES_DATASET={{root}} csCreateTrainIdLabelImgs

Expected, with "aachen" standing for each city:
  {{root}}
    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png ...
    leftImg8bit/val/...
    gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png ...
    gtFine/val/...

{_NEXT_COMMANDS}""",
    "shapes": f"""\
The procedural shapes: nothing to download, the project draws them.

1. `make demo` draws them and goes on to train; they belong at {{root}}

Expected:
  {{root}}
    train/images/NAME.png ...    train/labels/NAME.png ...
    val/images/NAME.png ...      val/labels/NAME.png ...

{_NEXT_COMMANDS}""",
    "folder": f"""\
A folder of your own, with the classes that data.classes lists.

1. Put images (JPEG or PNG) and labels at {{root}}
   A label is a PNG of its image's name and size. Each pixel holds the class id,
   counted from 0 in the order of data.classes; 255 = not labelled. Palette PNGs and
   8-bit grey PNGs are both fine.

Expected:
  {{root}}
    train/images/NAME.jpg ...    train/labels/NAME.png ...
    val/images/NAME.jpg ...      val/labels/NAME.png ...

{_NEXT_COMMANDS}""",
}
