"""The settings of the data: its sources, and the changes to training images."""

from typing import Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from gcnet_tf.config.values import STRICT, Byte, Factor, ObjectConfig, Pixels, Share

Dataset = Literal[
    "voc12aug",
    "ade20k",
    "cityscapes",
    "shapes",
    "folder",
    "beside",
    "labelme",
    "cvat",
    "coco",
    "labelme_json",
    "yolo",
    "roboflow",
    "label_studio",
    "supervisely",
]
# Data sets whose classes the configuration names; the others have fixed classes.
TAKE_CLASSES = tuple(
    name
    for name in get_args(Dataset)
    if name not in ("voc12aug", "ade20k", "cityscapes", "shapes")
)


@dataclass(frozen=True, config=STRICT)
class SourceConfig:
    """A further source of images, for the classes of the main source."""

    dataset: Dataset = "folder"
    """Layout of the source, as in data.dataset."""

    root: str = ""
    """Folder of the source images and labels; must be given."""

    label_map: tuple[tuple[Byte, Byte], ...] = ()
    """Pairs [id in the label files, class id or 255], as in data.label_map. A data set
    that has other classes needs a pair for every id in its labels."""

    splits: tuple[Literal["train", "val"], ...] = ("train",)
    """Splits that its images are added to."""


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The data set and its place on the disk."""

    dataset: Dataset = "folder"
    """Layout of the source, which also decides about the classes."""

    root: str = "data/my_dataset"
    """Folder of the source images and labels, as downloaded; a relative path starts
    where the command is run."""

    records: str = "data/tfrecords/my_dataset"
    """Folder for the TFRecord files made from the source; a relative path starts where
    the command is run."""

    check: bool = True
    """Training checks the whole source before it converts it, and reports all mistakes
    at once, as scripts/check_data.py does."""

    classes: tuple[str, ...] = ()
    """Names of the 2 to 255 classes, class 0 first; not for published data sets. For
    'folder' and 'beside' in the order of their ids in the label images; for exports of
    annotation tools named as in the export, in any order."""

    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    """One [red, green, blue] per class, for pictures; only where `classes` are given.
    An empty list means automatic colours."""

    label_map: tuple[tuple[Byte, Byte], ...] = ()
    """Pairs [id in the label files, class id or 255], where 255 means not labelled; ids
    without a pair stay as they are. For cityscapes the ids are those of *_labelIds.png,
    for cvat the entries of labelmap.txt, counted from 0; for exports of shapes 0 is the
    background, so that [[0, 255]] ignores pixels without a shape."""

    also: tuple[SourceConfig, ...] = ()
    """Further sources whose images are added; they use the classes of this section."""

    val_share: float = Field(default=0.2, gt=0, le=0.9)
    """Share of the images that goes to val where the source has no validation set of
    its own; a hash of the image's name decides, and images in one of several
    sub-folders stay together."""

    without_shapes: Literal["leave_out", "background"] = "leave_out"
    """Images of an export in which nothing is labelled, which may be images that nobody
    has looked at. leave_out: they are not used; background: all their pixels are
    background. Their number is told either way."""

    on_changed_source: Literal["convert", "stop", "ignore"] = "convert"
    """Reaction where images or labels have changed since they were converted. convert:
    converts them again, but a resumed run keeps its records and says so; stop: says
    what to do; ignore: does not compare. A source that is not there has not
    changed."""

    deterministic: bool = True
    """true: batches hold the same samples in every run; false: batches take the samples
    that are ready first, which is faster on many cores where images differ much in
    size, but a resumed run then sees other batches than an uninterrupted one."""

    on_error: Literal["stop", "skip"] = "stop"
    """Reaction to a damaged record. stop: training and evaluation name it and stop;
    skip: they name and count it, training takes the next sample in its place, and
    evaluation leaves it out of the metrics. Conversion always stops at a damaged
    file."""

    allow_partial: bool = False
    """Accepts a published data set although its number of images is not the known
    one."""


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """The changes to a training image, in the order in which they are made."""

    base_scale: tuple[Pixels, Pixels] = (2048, 512)
    """Two bounds in pixels: an image is scaled to the largest size whose long side is
    at most the larger bound and whose short side is at most the smaller one."""

    ratio_range: tuple[Factor, Factor] = (0.5, 2.0)
    """[lowest, highest] random factor on base_scale."""

    crop_size: tuple[Pixels, Pixels] = (512, 512)
    """[height, width] of the random crop, in pixels."""

    category_max_ratio: float = Field(default=0.75, gt=0, le=1)
    """A crop is redrawn (10 times at most) while one class covers at least this share
    of its labelled pixels; 1 accepts any crop."""

    flip_probability: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip, which swaps left and right."""

    photometric_distortion: bool = True
    """Random changes of brightness, contrast, saturation and hue."""

    photometric_on_device: bool = False
    """Colours are changed inside the training step instead of the input pipeline. The
    change is the same; a CPU that keeps a GPU waiting has a fifth less work."""

    balanced_crop: Share = 0.0
    """Share of the crops that hold a pixel of a drawn class of the image. A class is
    drawn by 1 / sqrt(its pixels in all training images), which category_max_ratio then
    does not check."""

    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation of the crop to either side, in degrees; corners become black and
    255."""

    blur: float = Field(default=0.0, ge=0, le=10)
    """Largest standard deviation of a Gaussian blur, in pixels."""

    grey: Share = 0.0
    """Probability of an image without colours."""

    cut_out: Share = 0.0
    """Largest share of the crop's height, and of its width, of a rectangle that becomes
    black and 255."""

    class_mix: Share = 0.0
    """Probability of ClassMix: half of the classes of another crop, the one that had
    this place in the batch before, are pasted."""

    copy_paste: Share = 0.0
    """Probability that only the rare classes of that crop are pasted: those with fewer
    pixels in the training images than an even share. With class_mix at most 1."""

    layer: ObjectConfig | None = None
    """A Keras layer that changes colours last, on the training device: RGB (batch,
    height, width, 3) in 0 to 255. A layer with an argument `seeds` gets uint8 images
    and int32 seeds (batch, 2), one pair per image, and returns uint8; any other layer
    gets float32 images."""
