"""What a check of the data has found: for people, for programs, and for pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.sources.folders import Pair

_NUM_SHOWN = 3
# Of an item's text; a label may have hundreds of wrong values.
_MAX_LENGTH = 400
# A class has to cover this share of an image to be seen in a small picture of it.
_VISIBLE_SHARE = 0.01

# Of every kind: its level, what it is called and what to do about it. An error is what
# conversion refuses, a warning what training suffers from, a note what may be meant so.
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
        "labels, or the list of classes.",
    ),
    "size_mismatch": (
        "error",
        "Labels of another size than their image",
        "A label has one pixel for every pixel of the upright image (turned as its "
        "EXIF orientation says).",
    ),
    "source": ("warning", "A source that is not complete", ""),
    "same_content": (
        "warning",
        "Images that are in two splits",
        "Scores on images that were trained on are too good; leave them in one split.",
    ),
    "nothing_labelled": (
        "warning",
        "Labels in which no pixel has a class",
        "255 means not labelled, also in a mask of 0 and 255.",
    ),
    "no_training_pixel": (
        "warning",
        "Classes without a training pixel",
        "Check the order of the classes; 255 in a label means not labelled.",
    ),
    "no_pixel": (
        "note",
        "Classes that occur in training, but not in another split",
        "They have no score there.",
    ),
    "one_class": ("note", "Labels of a single class", ""),
    "same_name": ("note", "Names that are in two splits, with other content", ""),
    "converted_image": (
        "note",
        "Images that are not upright RGB",
        "Training sees them turned upright and as RGB.",
    ),
    "large_crop": ("note", "A crop that is larger than most scaled images", ""),
}
LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Item:
    """One case of a finding: where it is, and what is there."""

    where: str
    detail: str = ""

    def __str__(self) -> str:
        if not self.detail or self.where in self.detail:
            return self.detail or self.where
        return f"{self.where}: {self.detail}"


# The kind and the item.
Problem = tuple[str, Item]


@dataclass(frozen=True)
class Look:
    """What one pair of files shows.

    Attributes:
        split, pair: which one.
        facts: how its label is read.
        size: (height, width) of the upright image; None when it cannot be read.
        counts: pixels of each training id in the label; empty when it is bad.
        digest: hash of the image file, "" when it cannot be read.
        problems: what was noticed in this pair alone.
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
    """What was found.

    Attributes:
        facts: the data set.
        splits: those that were looked at.
        looks: every pair.
        findings: the items of each kind that occurred, in the order of `KINDS`.
    """

    facts: DatasetFacts
    splits: tuple[str, ...]
    looks: tuple[Look, ...]
    findings: dict[str, list[Item]]

    def kinds(self, level: str) -> list[str]:
        """The kinds of a level that occurred."""
        return [kind for kind in self.findings if KINDS[kind][0] == level]

    def num_items(self, level: str) -> int:
        """The number of errors, warnings or notes."""
        return sum(len(self.findings[kind]) for kind in self.kinds(level))

    def looks_of(self, split: str) -> list[Look]:
        return [look for look in self.looks if look.split == split]

    def pixels(self, split: str) -> np.ndarray:
        """Pixels per training id over a split, int64 (256,)."""
        return self._sum(split, lambda count: count)

    def images(self, split: str) -> np.ndarray:
        """Number of images in which a training id occurs, int64 (256,)."""
        return self._sum(split, lambda count: 1)

    def _sum(self, split: str, value: Callable[[int], int]) -> np.ndarray:
        total = np.zeros(256, np.int64)
        for look in self.looks_of(split):
            for index, count in look.counts.items():
                total[index] += value(count)
        return total


def findings_text(report: Report, kinds: Sequence[str]) -> str:
    """The findings of these kinds, each with its first few items."""
    lines = []
    for kind in kinds:
        items = report.findings[kind]
        level, title, remedy = KINDS[kind]
        lines.append(f"{level.capitalize()}: {title} ({len(items)}). {remedy}".rstrip())
        texts = [str(item) for item in items[:_NUM_SHOWN]]
        lines += [
            f"  {t[:_MAX_LENGTH]}{' ...' * (len(t) > _MAX_LENGTH)}" for t in texts
        ]
        if len(items) > _NUM_SHOWN:
            lines.append(f"  and {len(items) - _NUM_SHOWN} more")
    return "\n".join(lines)


def format_report(report: Report) -> str:
    """The whole report, as the terminal shows it."""
    parts = [_size_lines(report)]
    if any(look.counts for look in report.looks):
        parts.append(_class_table(report))
    if report.findings:
        parts.append(findings_text(report, list(report.findings)))
    counts = [_count(report.num_items(level), level) for level in LEVELS]
    return "\n\n".join([*parts, f"Found {', '.join(counts)}."])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size_lines(report: Report) -> str:
    lines = []
    for split in report.splits:
        looks = report.looks_of(split)
        line = f"{split}: {_count(len(looks), 'image')}"
        for side, (low, middle, high) in _sides(looks).items():
            line += f", {side} {low} to {high} (median {middle})"
        lines.append(line)
    return "\n".join(lines)


def _sides(looks: list[Look]) -> dict[str, tuple[int, int, int]]:
    """Smallest, median and largest height and width; nothing without images."""
    sizes = np.array([look.size for look in looks if look.size])
    if not sizes.size:
        return {}
    return {
        name: (int(side[0]), int(side[len(side) // 2]), int(side[-1]))
        for name, side in zip(("height", "width"), np.sort(sizes, axis=0).T)
    }


def _class_table(report: Report) -> str:
    """Of every class in every split: share of the pixels, number of images."""
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
    """Share of the pixels and number of images of each class and of 255."""
    ids = [*range(report.facts.num_classes), IGNORE_LABEL]
    pixels, images = report.pixels(split), report.images(split)
    total = max(int(pixels.sum()), 1)
    return [(float(pixels[index] / total), int(images[index])) for index in ids]


def report_to_dict(report: Report) -> dict[str, Any]:
    """JSON form, with every item of every finding."""
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
    """A few pairs that show every class, the rarest first, filled up with others.

    A class is shown by the image it covers most of, unless one that is in already shows
    it well enough.
    """
    good = [look for look in report.looks if look.size and look.counts]
    share = np.zeros((len(good), report.facts.num_classes))
    for row, look in enumerate(good):
        for index, count in look.counts.items():
            if index < report.facts.num_classes:
                share[row, index] = count / sum(look.counts.values())
    chosen: list[int] = []
    largest = share.max(axis=0, initial=0)
    for index in np.argsort(share.sum(axis=0), kind="stable"):
        enough = min(_VISIBLE_SHARE, largest[index])
        if enough > 0 and not (share[chosen, index] >= enough).any():
            chosen.append(int(share[:, index].argmax()))
    rest = [row for row in range(len(good)) if row not in set(chosen)]
    missing = min(max(at_least - len(chosen), 0), len(rest))
    chosen += [rest[place * len(rest) // missing] for place in range(missing)]
    return [good[row] for row in chosen]
