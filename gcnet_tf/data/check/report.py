"""The report of a data check: as text and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.check.findings import KINDS, LEVELS, Item
from gcnet_tf.data.check.looks import Looks

# Number of items that the text lists for each kind.
_NUM_SHOWN = 3
# Greatest length of an item's text, because a label may have hundreds of wrong values.
_MAX_LENGTH = 400


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        facts: facts about the data set.
        splits: the splits that were checked.
        looks: the results for all pairs.
        findings: the items of each kind that occurred, in the order of `KINDS`.
    """

    facts: DatasetFacts
    splits: tuple[str, ...]
    looks: Looks
    findings: dict[str, Sequence[Item]]

    def kinds(self, level: str) -> list[str]:
        """Returns the kinds of a level that occurred."""
        return [kind for kind in self.findings if KINDS[kind][0] == level]

    def num_items(self, level: str) -> int:
        """Counts the errors, warnings or notes."""
        return sum(len(self.findings[kind]) for kind in self.kinds(level))


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
    if any(report.looks.images[split].any() for split in report.splits):
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
        line = f"{split}: {_count_text(report.looks.number(split), 'image')}"
        for side, (low, middle, high) in _sides(report.looks.sizes(split)).items():
            line += f", {side} {low} to {high} (median {middle})"
        lines.append(line)
    return "\n".join(lines)


def _sides(sizes: np.ndarray) -> dict[str, tuple[int, int, int]]:
    """Returns the smallest, median and largest height and width.

    The dict is empty when there is no readable image.

    Args:
        sizes: height and width of the readable images, (number, 2).
    """
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
    pixels, images = report.looks.pixels[split], report.looks.images[split]
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
            "num_images": report.looks.number(split),
            "size": {
                side: {"min": low, "median": middle, "max": high}
                for side, (low, middle, high) in _sides(
                    report.looks.sizes(split)
                ).items()
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
