"""What `scripts/benchmark.py evaluate` shows and writes."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks.evaluate import Row
from benchmarks.evaluate_files import PEER
from benchmarks.infer_report import header

NAME = "benchmark_evaluate"

_COLUMNS = ("mode", "", "images/s", "ratio", "from", "to", "cores", "core s", "mIoU")
_NOTES = """\
images/s: from files to the mIoU, median over the rounds. ratio: of the time to that of
the first in the mode, median over the rounds, and the range. cores: in use on average.
core s: seconds of a core for an image, which other work on the machine changes less.
slide: windows of {window[0]}x{window[1]} in steps of {stride[0]}x{stride[1]}."""


def table(content: dict, rows: Sequence[Row]) -> str:
    """For the terminal."""
    return tables.aligned(_lines(rows)) + "\n\n" + _notes(content)


def write(folder: Path, content: dict, rows: Sequence[Row]) -> None:
    """Writes benchmark_evaluate.json, .md and .png into a folder that is there."""
    (folder / f"{NAME}.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / f"{NAME}.md").write_text(
        "# Images per second of an evaluation\n\n"
        f"```\n{header(content)}\n```\n\n"
        f"{tables.markdown(_lines(rows))}\n\n{_notes(content)}\n\n"
        f"![Images per second]({NAME}.png)\n"
    )
    _chart(folder / f"{NAME}.png", content, rows)


def _notes(content: dict) -> str:
    return _NOTES.format(**content)


def _lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [_COLUMNS, *map(_cells, rows)]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.mode,
        row.name,
        f"{row.rate:.2f}",
        f"{row.ratio:.3f}",
        f"{min(row.ratios):.3f}",
        f"{max(row.ratios):.3f}",
        f"{row.busy:.2f}",
        f"{row.cpu:.3f}",
        f"{100 * row.miou:.3f}",
    )


def _chart(path: Path, content: dict, rows: Sequence[Row]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        [f"{row.mode}, {row.name}" for row in rows],
        [row.rate for row in rows],
        color=["tab:gray" if row.name == PEER else "tab:blue" for row in rows],
    )
    labels = [f" {row.rate:.2f}  (ratio of times {row.ratio:.2f})" for row in rows]
    axes.bar_label(bars, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * max(row.rate for row in rows))
    axes.set_xlabel("images per second")
    axes.set_title(content["processor"])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
