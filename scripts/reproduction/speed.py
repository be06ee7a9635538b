"""Memory and fps of rows, which are kept for the device that they were measured on."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table.rows import (
    device,
    measure_row,
    network_and_protocol,
    seconds_of,
)
from gcnet_tf import __version__
from gcnet_tf.files.results import write_result
from reproduction.rows import Row
from reproduction.table import Outcome

# As many as the reference times.
_IMAGES = 200
_FILE = "speed.json"


def hours(rows: Sequence[Row], out: Path) -> float:
    """Estimates the time of what is not measured yet."""
    known = _read(out)
    left = {_key(row): row.config for row in rows if _key(row) not in known}
    return sum(seconds_of(config, _IMAGES) for config in left.values()) / 3600


def measure(row: Row, out: Path, outcome: Outcome) -> None:
    """Measures a row, or takes what an earlier call has measured on this device.

    Rows that differ in their schedule alone are measured once.

    Args:
        row: the row; its weights do not matter.
        out: folder of the results.
        outcome: gets the figures, and what failed.
    """
    known, key = _read(out), _key(row)
    if key not in known:
        cost = measure_row(row.config, _IMAGES)
        outcome.lacks += cost.errors
        known[key] = {"memory_gb": cost.memory_gb, "fps": cost.fps}
        if not cost.errors:
            write_result(out / _FILE, json.dumps(known, indent=2) + "\n")
    outcome.memory_gb, outcome.fps = known[key]["memory_gb"], known[key]["fps"]


def _key(row: Row) -> str:
    return repr((device().name, __version__, network_and_protocol(row.config)))


def _read(out: Path) -> dict[str, dict[str, float | None]]:
    try:
        known = json.loads((out / _FILE).read_text(encoding="utf-8"))
        return {
            key: {name: float(values[name]) for name in ("memory_gb", "fps")}
            for key, values in known.items()
        }
    # A file that somebody has changed counts as none.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
