"""The findings of a data check: their kinds, and a few bytes for each case."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gcnet_tf.data.compact import Row, Rows, View

# The kind whose images the sheet shows first, because only a look can decide.
UNSURE_TURN = "unsure_turn"
# Level, title and remedy of every kind of finding. Conversion refuses an error,
# training suffers from a warning, and a note may be intended.
KINDS = {
    "layout": ("error", "Splits that cannot be converted as they are", ""),
    "image_without_label": (
        "error",
        "Images without a label",
        "Add the labels, or move the images away.",
    ),
    "label_without_image": (
        "error",
        "Labels without an image",
        "Add the images, or move the labels away.",
    ),
    "unreadable_image": ("error", "Images that cannot be read", ""),
    "unreadable_label": ("error", "Labels that cannot be read as class ids", ""),
    "label_values": (
        "error",
        "Labels with values that are not allowed",
        "Allowed are the ids of the classes, and 255 for not labelled. Correct the "
        "labels or the list of classes, or map other ids by data.label_map.",
    ),
    "size_mismatch": (
        "error",
        "Labels of another size than their image",
        "A label has one pixel for every pixel of the upright image (turned as its "
        "EXIF orientation says).",
    ),
    "source": ("warning", "Files of a source that are missing or passed over", ""),
    "same_content": (
        "warning",
        "Images that are in two splits",
        "Metrics on training images are too good; leave each image in one split only.",
    ),
    UNSURE_TURN: (
        "warning",
        "Images with an EXIF orientation that their labels may not follow",
        "Sizes agree either way. The sheet (--sheet FILE.png) shows these images "
        "first: where the label does not fit, it was drawn on the image as stored; "
        "then remove the orientation from the image file, or turn the label.",
    ),
    "bands_left_out": (
        "warning",
        "Images of which bands are left out",
        "Only the colours are read, no infrared and the like; write a TIFF of the "
        "three bands to use to choose them.",
    ),
    "nothing_labelled": (
        "warning",
        "Labels in which no pixel has a class",
        "255 means not labelled, even in a mask of 0 and 255.",
    ),
    "no_training_pixel": (
        "warning",
        "Classes without a training pixel",
        "Check the order of the classes; 255 in a label means not labelled.",
    ),
    "no_pixel": (
        "note",
        "Classes that occur in training, but not in another split",
        "They have no IoU there.",
    ),
    "one_class": ("note", "Labels of a single class", ""),
    "same_name": ("note", "Names that are in two splits, with other content", ""),
    "converted_image": (
        "note",
        "Images that are not upright RGB",
        "Training gets them turned upright and as RGB, without transparency.",
    ),
    "records": ("note", "Records that do not belong to these files or settings", ""),
    "large_crop": ("note", "A crop that is larger than most scaled images", ""),
}
LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Item:
    """One case of a finding."""

    where: str
    """Place of the case: a file, a split, a class or a setting."""
    detail: str = ""
    """Description of the case; "" where the kind says all."""

    def __str__(self) -> str:
        if not self.detail or self.where in self.detail:
            return self.detail or self.where
        return f"{self.where}: {self.detail}"


# Kind and item of one case.
Problem = tuple[str, Item]


class Findings:
    """The items of each kind that occurred; there may be one for each of the images."""

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = defaultdict(Rows)

    def add(self, problems: Iterable[Problem]) -> None:
        """Adds problems."""
        for kind, item in problems:
            self._rows[kind].append((item.where, item.detail))

    def by_kind(self) -> dict[str, Sequence[Item]]:
        """Returns the items of each kind that occurred, in the order of `KINDS`."""
        return {
            kind: View(self._rows[kind], _item) for kind in KINDS if kind in self._rows
        }


def _item(row: Row) -> Item:
    where, detail = row
    return Item(where, detail)
