"""What `scripts/benchmark.py infer` shows and writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import tables
from benchmarks.infer import Row
from benchmarks.machine import versions
from gcnet_tf.processor import instruction_sets, processor

PACKAGES = (
    "gcnet_tf",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "onnxruntime",
    "openvino",
    "tf2onnx",
    "numpy",
)


class Report(NamedTuple):
    """What the measurements of a command are called."""

    name: str
    """Of the files."""
    title: str
    of: str = "an image"
    """What takes the time."""
    to: str = "the first row"
    """What the ratios are to."""


INFER = Report("benchmark_infer", "Time, memory and size of every exported format")

_COLUMNS = (
    *("", "gives", "ms", "p90", "ratio", "from", "to", "cores"),
    *("MB", "+MB", "file"),
)
_NOTES = """\
ms, p90: median time of {of}, and what one in ten exceeds. ratio: to {to}, median over
the rounds, and the range. cores: in use on average. MB: peak memory of the process;
+MB: what of it came after importing the interpreter; file: on disk, MB."""


def facts(command: str, rows: Sequence[Any], peer_versions: str) -> dict:
    """Everything about a measurement, for JSON."""
    return {
        "command": command,
        "processor": processor(),
        "instruction_sets": instruction_sets(),
        "versions": versions(PACKAGES),
        "peer_versions": peer_versions,
        "rows": [row.to_dict() for row in rows],
    }


def table(rows: Sequence[Row], report: Report = INFER) -> str:
    """For the terminal."""
    return tables.aligned(_lines(rows)) + "\n\n" + _notes(report)


def _notes(report: Report) -> str:
    return _NOTES.format(of=report.of, to=report.to)


def header(content: dict) -> str:
    """Machine, versions and command, as lines of text."""
    found = ", ".join(
        f"{name} {number}" for name, number in content["versions"].items()
    )
    lines = [
        f"{content['processor']}: {' '.join(content['instruction_sets']) or 'no sets'}",
        found,
    ]
    if content["peer_versions"]:
        lines.append(f"mmsegmentation: {content['peer_versions']}")
    return "\n".join([*lines, content["command"]])


def write(
    folder: Path,
    content: dict,
    rows: Sequence[Row],
    report: Report = INFER,
) -> None:
    """Writes .json, .md and .png into a folder that is there."""
    path = folder / f"{report.name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    path.with_suffix(".md").write_text(_markdown(report, content, rows))
    _chart(path.with_suffix(".png"), report, content, rows)


def _lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [_COLUMNS, *map(_cells, rows)]


def _cells(row: Row) -> tuple[str, ...]:
    file = "" if row.megabytes is None else f"{row.megabytes:.1f}"
    return (
        row.name,
        row.gives,
        f"{row.median * 1000:.1f}",
        f"{row.p90 * 1000:.1f}",
        f"{row.ratio:.3f}",
        f"{min(row.ratios):.3f}",
        f"{max(row.ratios):.3f}",
        f"{row.busy:.2f}",
        f"{row.peak:.0f}",
        f"{row.peak - row.baseline:.0f}",
        file,
    )


def _markdown(report: Report, content: dict, rows: Sequence[Row]) -> str:
    return (
        f"# {report.title}\n\n"
        f"```\n{header(content)}\n```\n\n"
        f"{tables.markdown(_lines(rows))}\n\n{_notes(report)}\n\n"
        f"![Ratios]({report.name}.png)\n"
    )


def _chart(path: Path, report: Report, content: dict, rows: Sequence[Row]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    ratios = [row.ratio for row in rows]
    spread = [
        [row.ratio - min(row.ratios) for row in rows],
        [max(row.ratios) - row.ratio for row in rows],
    ]
    ours = ["tab:gray" if "mmseg" in row.name else "tab:blue" for row in rows]
    bars = axes.barh([row.name for row in rows], ratios, color=ours, xerr=spread)
    labels = [f" {row.ratio:.2f}  ({row.median * 1000:.0f} ms)" for row in rows]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(max(row.ratios) for row in rows))
    axes.set_xlabel(f"time of {report.of}, ratio to {report.to}; range over the rounds")
    axes.set_title(content["processor"])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
