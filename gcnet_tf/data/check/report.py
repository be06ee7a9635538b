"""The report of a data check: as text, as JSON, and as a choice of images to show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.sources.pairs import Pair

# Number of items that the text lists for each kind.
_NUM_SHOWN = 3
# Greatest length of an item's text, because a label may have hundreds of wrong values.
_MAX_LENGTH = 400
# Least share of an image that a class has to cover to be visible in a small picture.
_VISIBLE_SHARE = 0.01

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


@dataclass(frozen=True)
class Look:
    """The result of the check of one pair of files.

    Attributes:
        split: name of the split.
        pair: the pair.
        facts: facts for reading its label.
        size: (height, width) of the upright image; None when it cannot be read.
        counts: number of pixels of each training id in the label; empty when the label
            is refused.
        digest: hash of the image file; "" when it cannot be read.
        problems: the problems of this pair alone.
    """

    split: str
    pair: Pair
    facts: DatasetFacts
    size: tuple[int, int] | None
    counts: dict[int, int]
    digest: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        facts: facts about the data set.
        splits: the splits that were checked.
        looks: the result for every pair.
        findings: the items of each kind that occurred, in the order of `KINDS`.
    """

    facts: DatasetFacts
    splits: tuple[str, ...]
    looks: tuple[Look, ...]
    findings: dict[str, list[Item]]

    def kinds(self, level: str) -> list[str]:
        """Returns the kinds of a level that occurred."""
        return [kind for kind in self.findings if KINDS[kind][0] == level]

    def num_items(self, level: str) -> int:
        """Counts the errors, warnings or notes."""
        return sum(len(self.findings[kind]) for kind in self.kinds(level))

    def looks_of(self, split: str) -> list[Look]:
        """Returns the results for the pairs of a split."""
        return [look for look in self.looks if look.split == split]

    def pixels(self, split: str) -> np.ndarray:
        """Counts the pixels per training id over a split, int64 (256,)."""
        return self._sum(split, lambda count: count)

    def images(self, split: str) -> np.ndarray:
        """Counts the images in which each training id occurs, int64 (256,)."""
        return self._sum(split, lambda count: 1)

    def _sum(self, split: str, value: Callable[[int], int]) -> np.ndarray:
        total = np.zeros(256, np.int64)
        for look in self.looks_of(split):
            for index, count in look.counts.items():
                total[index] += value(count)
        return total


def findings_text(report: Report, kinds: Sequence[str]) -> str:
    """Returns the findings of these kinds as text, each with its first few items."""
    lines = []
    for kind in kinds:
        items = report.findings[kind]
        level, title, remedy = KINDS[kind]
        lines.append(f"{level.capitalize()}: {title} ({len(items)}). {remedy}".rstrip())
        for item in items[:_NUM_SHOWN]:
            text = str(item)
            ellipsis = " ..." if len(text) > _MAX_LENGTH else ""
            lines.append(f"  {text[:_MAX_LENGTH]}{ellipsis}")
        if len(items) > _NUM_SHOWN:
            lines.append(f"  and {len(items) - _NUM_SHOWN} more")
    return "\n".join(lines)


def format_report(report: Report) -> str:
    """Returns the whole report as text for the terminal."""
    parts = [_size_lines(report)]
    if any(look.counts for look in report.looks):
        parts.append(_class_table(report))
    if report.findings:
        parts.append(findings_text(report, list(report.findings)))
    counts = [_count_text(report.num_items(level), level) for level in LEVELS]
    return "\n\n".join([*parts, f"Found {', '.join(counts)}."])


def _count_text(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _size_lines(report: Report) -> str:
    lines = []
    for split in report.splits:
        looks = report.looks_of(split)
        line = f"{split}: {_count_text(len(looks), 'image')}"
        for side, (low, middle, high) in _sides(looks).items():
            line += f", {side} {low} to {high} (median {middle})"
        lines.append(line)
    return "\n".join(lines)


def _sides(looks: list[Look]) -> dict[str, tuple[int, int, int]]:
    """Returns the smallest, median and largest height and width.

    The dict is empty when there is no readable image.
    """
    sizes = np.array([look.size for look in looks if look.size])
    if not sizes.size:
        return {}
    return {
        name: (int(side[0]), int(side[len(side) // 2]), int(side[-1]))
        for name, side in zip(("height", "width"), np.sort(sizes, axis=0).T)
    }


def _class_table(report: Report) -> str:
    """Returns a table with the pixel share and the number of images of each class."""
    names = _row_names(report)
    width = max(map(len, names))
    rows = ["class".ljust(width), *(name.ljust(width) for name in names)]
    for split in report.splits:
        shares = [f"{s:10.2%}{n:9d}" for s, n in _shares(report, split)]
        column = [f"{split:>10}   images", *shares]
        rows = [row + cell for row, cell in zip(rows, column, strict=True)]
    return "\n".join(rows)


def _row_names(report: Report) -> list[str]:
    return [*(name.strip() for name in report.facts.classes), "(not labelled)"]


def _shares(report: Report, split: str) -> list[tuple[float, int]]:
    """Returns the pixel share and the number of images of each class and of 255."""
    ids = [*range(report.facts.num_classes), IGNORE_LABEL]
    pixels, images = report.pixels(split), report.images(split)
    total = max(int(pixels.sum()), 1)
    return [(float(pixels[index] / total), int(images[index])) for index in ids]


def report_to_dict(report: Report) -> dict[str, Any]:
    """Returns the report as JSON values, with every item of every finding."""
    findings = [
        {
            "level": KINDS[kind][0],
            "kind": kind,
            "title": KINDS[kind][1],
            "items": [{"where": item.where, "detail": item.detail} for item in items],
        }
        for kind, items in report.findings.items()
    ]
    splits = {
        split: {
            "num_images": len(report.looks_of(split)),
            "size": {
                side: {"min": low, "median": middle, "max": high}
                for side, (low, middle, high) in _sides(report.looks_of(split)).items()
            },
            "classes": {
                name: {"pixel_share": share, "num_images": images}
                for name, (share, images) in zip(
                    _row_names(report), _shares(report, split)
                )
            },
        }
        for split in report.splits
    }
    return {
        "dataset": report.facts.name,
        "num_errors": report.num_items("error"),
        "splits": splits,
        "findings": findings,
    }


def looks_to_show(report: Report, at_least: int = 12) -> list[Look]:
    """Chooses a few pairs that together show every class, the rarest class first.

    Before them come up to `at_least` pairs whose label may not be turned as its image.
    A class is shown by the image of which it covers most, unless an image that is
    already chosen shows it well enough. Other pairs are added up to `at_least`.
    """
    good = [look for look in report.looks if look.size and look.counts]
    # Share of each class (column) in each pair (row).
    shares = np.zeros((len(good), report.facts.num_classes))
    for row, look in enumerate(good):
        for index, count in look.counts.items():
            if index < report.facts.num_classes:
                shares[row, index] = count / sum(look.counts.values())
    unsure = [
        row
        for row, look in enumerate(good)
        if any(kind == UNSURE_TURN for kind, _ in look.problems)
    ]
    chosen = unsure[:at_least]
    largest = shares.max(axis=0, initial=0)
    for index in np.argsort(shares.sum(axis=0), kind="stable"):
        enough = min(_VISIBLE_SHARE, largest[index])
        if enough > 0 and not (shares[chosen, index] >= enough).any():
            chosen.append(int(shares[:, index].argmax()))
    rest = [row for row in range(len(good)) if row not in set(chosen)]
    num_added = min(max(at_least - len(chosen), 0), len(rest))
    chosen += [rest[step * len(rest) // num_added] for step in range(num_added)]
    return [good[row] for row in chosen]
