"""Reading of a run's log, which may be incomplete, damaged or a stranger's."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gcnet_tf.training.monitor.monitor import METRICS_FILE

# Bytes of a file that are read at most: a log of a million lines.
_MOST_BYTES = 2**28
# Points of a curve, more than a page is wide in pixels.
_MOST_POINTS = 1500

Curve = list[tuple[float, float]]


@dataclass
class RunLog:
    """The curves of a run; points are (iteration, value).

    Attributes:
        curves: by name, such as "loss" and "mIoU".
        best: the record of the evaluation with the largest mIoU, if there is one.
        last: the last iteration that is in the log.
    """

    curves: dict[str, Curve] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    last: int = 0


def read_log(run: Path) -> RunLog:
    """Reads metrics.jsonl; lines that are cut off, or no records, are passed over."""
    log = RunLog()
    for record in _records(run / METRICS_FILE):
        iteration = number_or_none(record.get("iteration"))
        if iteration is None:
            continue
        log.last = max(log.last, int(iteration))
        if record.get("kind") not in ("train", "val"):
            continue
        for name, value in record.items():
            number = number_or_none(value)
            if name != "iteration" and number is not None:
                log.curves.setdefault(name, []).append((iteration, number))
        if record["kind"] == "val" and _miou(record) > _miou(log.best):
            log.best = record
    log.curves = {name: _thinned(curve) for name, curve in log.curves.items()}
    return log


def read_values(path: Path) -> dict[str, Any]:
    """Reads the object of a JSON file; an empty one where there is none."""
    return next(_parsed([_text(path)]), {})


def number_or_none(value: Any) -> float | None:
    """Returns a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of thousands of digits
        return None


def _records(path: Path) -> Iterator[dict[str, Any]]:
    return _parsed(_text(path).splitlines())


def _text(path: Path) -> str:
    try:
        # A device would never end.
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _parsed(texts: list[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _miou(record: dict[str, Any]) -> float:
    value = number_or_none(record.get("mIoU"))
    return -math.inf if value is None else value


def _thinned(curve: Curve) -> Curve:
    step = -(-len(curve) // _MOST_POINTS)
    return curve if step <= 1 else [*curve[::step], curve[-1]]
