"""The settings of the data: where they come from, and what happens to them."""

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.objects import ObjectConfig
from gcnet_tf.config.values import STRICT, Byte, Factor, Pixels

Dataset = Literal[
    "voc12aug", "ade20k", "cityscapes", "shapes", "folder", "labelme", "cvat"
]
# Those whose classes the configuration names; the others bring their own.
TAKE_CLASSES = ("folder", "labelme", "cvat")


@dataclass(frozen=True, config=STRICT)
class SourceConfig:
    """Names a further source of images for the classes of the main one."""

    dataset: Dataset = "folder"
    """Layout of the source, as in data.dataset."""

    root: str = ""
    """Folder of the source images and labels; must be given."""

    label_map: tuple[tuple[Byte, Byte], ...] = ()
    """Pairs [id in the label files, class id or 255], as in data.label_map. A data set
    with other classes of its own needs every id listed that its labels hold."""

    splits: tuple[Literal["train", "val"], ...] = ("train",)
    """Which splits its images are added to."""


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Names the data set, and where it lies."""

    dataset: Dataset = "folder"
    """Layout of the source, and with it the classes."""

    root: str = "data/my_dataset"
    """Folder of the source images and labels, as downloaded; a relative path starts
    where the command is run."""

    records: str = "data/tfrecords/my_dataset"
    """Folder for the TFRecord files made from it; a relative path starts where the
    command is run."""

    check: bool = True
    """Training looks through the source before it converts it, and tells all that is
    wrong at once, as scripts/check_data.py does."""

    classes: tuple[str, ...] = ()
    """Names of the 2 to 255 classes, 0 first; only for the datasets 'folder' (in the
    order of their ids in the label images), 'labelme' and 'cvat' (named as in the
    export)."""

    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    """One [red, green, blue] per class for pictures; only where `classes` are given,
    and left empty there for automatic colours."""

    label_map: tuple[tuple[Byte, Byte], ...] = ()
    """Pairs [id in the label files, class id or 255], where 255 means not labelled; ids
    that are not listed stay as they are. For cityscapes they are the ids of
    *_labelIds.png, for cvat the lines of labelmap.txt, the first being 0."""

    also: tuple[SourceConfig, ...] = ()
    """Further sources whose images are added, with the classes of this one."""

    val_share: float = Field(default=0.2, gt=0, le=0.9)
    """Share of the images that is kept for val where an export of labelme or cvat has
    no lists of its own; a hash of the name decides."""

    deterministic: bool = True
    """Batches hold the same samples in every run. false: they take samples as these get
    ready, which helps many cores where images differ much in size; a resumed run then
    sees other batches than an uninterrupted one."""

    on_error: Literal["stop", "skip"] = "stop"
    """When a record turns out to be damaged. stop: training and evaluation name it and
    stop; skip: they name and count it, train on the next sample in its place and leave
    it out of the scores. Conversion always stops at a damaged file."""

    allow_partial: bool = False
    """Take a published data set as it is although its number of images is not the known
    one."""


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Says what happens to a training image, in this order."""

    base_scale: tuple[Pixels, Pixels] = (2048, 512)
    """Two bounds in pixels: an image is scaled to the largest size whose long side is
    within the larger and whose short side is within the smaller."""

    ratio_range: tuple[Factor, Factor] = (0.5, 2.0)
    """[lowest, highest] random factor that base_scale is multiplied by."""

    crop_size: tuple[Pixels, Pixels] = (512, 512)
    """[height, width] of the random crop, in pixels."""

    category_max_ratio: float = Field(default=0.75, gt=0, le=1)
    """A crop is redrawn (10 times at most) while one class covers at least this share
    of it; 1 accepts any crop."""

    flip_probability: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring left and right."""

    photometric_distortion: bool = True
    """Random brightness, contrast, saturation and hue."""

    photometric_on_device: bool = False
    """Colours change inside the training step instead of the input pipeline: the same
    change, and a fifth less work for a CPU that keeps a GPU waiting."""

    layer: ObjectConfig | None = None
    """A Keras layer that changes colours last, on the training device: RGB (batch,
    height, width, 3) in 0 to 255. One with an argument seeds gets uint8 images and
    int32 (batch, 2), one per image, and returns uint8; the others get float32."""
