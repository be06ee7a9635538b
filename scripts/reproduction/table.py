"""The published table, with our figures beside those of the reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gcnet_tf.config import Config

# Largest difference from a published mIoU, in points, that counts as the same.
TOLERANCE = 0.1


@dataclass
class Outcome:
    """The figures of a row; None is unknown.

    Attributes:
        name: the row.
        config: its configuration, with the published figures.
        miou, miou_ms_flip: in percent.
        memory_gb: largest memory of a training step of one device's share, in GB.
        fps: images per second at inference.
        lacks: why something is unknown.
        classes: IoU per class, single scale, in percent.
    """

    name: str
    config: Config
    miou: float | None = None
    miou_ms_flip: float | None = None
    memory_gb: float | None = None
    fps: float | None = None
    lacks: list[str] = field(default_factory=list)
    classes: dict[str, float | None] = field(default_factory=dict)

    def differences(self) -> dict[str, float]:
        """Returns our mIoU less the published one, in points, where both are known."""
        published = self.config.published
        pairs = {
            "miou": (self.miou, published.miou),
            "miou_ms_flip": (self.miou_ms_flip, published.miou_ms_flip),
        }
        return {
            # Both are compared as they are published, with two decimals.
            name: round(round(ours, 2) - theirs, 2)
            for name, (ours, theirs) in pairs.items()
            if ours is not None and theirs is not None
        }

    def is_off(self) -> bool:
        """Tells whether an mIoU differs by more than `TOLERANCE`, or is no number."""
        return any(
            math.isnan(value) or abs(value) > TOLERANCE
            for value in self.differences().values()
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the row for a JSON file; an unknown value is None."""
        published = self.config.published
        return {
            "row": self.name,
            "mIoU": _number(self.miou),
            "mIoU_ms_flip": _number(self.miou_ms_flip),
            "memory_gb": self.memory_gb,
            "fps": self.fps,
            "published": {
                "mIoU": published.miou,
                "mIoU_ms_flip": published.miou_ms_flip,
                "memory_gb": published.memory_gb,
                "fps": published.fps,
            },
            "difference": {
                name: _number(value) for name, value in self.differences().items()
            },
            "IoU": self.classes,
            "lacks": self.lacks,
        }


def markdown(outcomes: Sequence[Outcome], device: str) -> str:
    """Returns the table: ours, the published figure in brackets, and the difference."""
    lines = [
        f"Memory and fps: of {device}; in brackets those that are published, of V100.",
        "mIoU: in percent; in brackets the published one, and the difference.",
        "",
        "| row | crop | iterations | memory (GB) | fps | mIoU | mIoU (ms+flip) |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        published = outcome.config.published
        differences = outcome.differences()
        height, width = outcome.config.augment.crop_size
        cells = [
            f"`{outcome.name}`",
            f"{height}x{width}",
            str(outcome.config.train.iterations),
            _cell(outcome.memory_gb, published.memory_gb, 1),
            _cell(outcome.fps, published.fps, 2),
            _cell(outcome.miou, published.miou, 2, differences.get("miou")),
            _cell(
                outcome.miou_ms_flip,
                published.miou_ms_flip,
                2,
                differences.get("miou_ms_flip"),
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [
        f"* `{outcome.name}`: {lack}" for outcome in outcomes for lack in outcome.lacks
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cell(
    ours: float | None,
    theirs: float | None,
    digits: int,
    difference: float | None = None,
) -> str:
    texts = [
        "-" if value is None else f"{value:.{digits}f}" for value in (ours, theirs)
    ]
    if difference is None:
        return f"{texts[0]} ({texts[1]})"
    return f"{texts[0]} ({texts[1]}, {difference:+.2f})"


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
