"""Reports of measurements: the machine's header, the page, charts and files."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import tables
from gcnet_tf.files.versions import package_versions
from gcnet_tf.processor import instruction_sets, processor

KERAS_PACKAGES = ("gcnet_tf", "tensorflow", "keras", "numpy")
"""Packages that decide the speed of a Keras model."""
ALL_PACKAGES = (
    *("gcnet_tf", "tensorflow", "keras", "ai-edge-litert", "onnxruntime"),
    *("openvino", "tf2onnx", "numpy"),
)
"""The same, and those that run and write exported files."""

_DPI = 120


class Chart(NamedTuple):
    """A picture of the numbers, drawn when the report is written."""

    caption: str
    draw: Callable[[], Any]
    """Returns a matplotlib figure."""


class Report(NamedTuple):
    """Content of a benchmark's output, for the terminal and for files."""

    name: str
    """Name of the files, without a suffix."""
    title: str
    """Heading of the Markdown file."""
    facts: Mapping[str, Any]
    """Everything that is known, for JSON; includes what `machine_facts` returns."""
    lines: Sequence[Sequence[str]]
    """Cells of the table, the head first."""
    notes: str
    """Explanation of the columns."""
    settings: str = ""
    """Line of the header that says how this benchmark was set up."""
    num_words: int = 2
    """Number of leading columns that hold words."""
    verdicts: Sequence[str] = ()
    """Sentences that say whether promises are kept."""
    chart: Chart | None = None

    def header(self) -> str:
        """Returns lines of text: the machine, versions, settings and the command."""
        sets = " ".join(self.facts["instruction_sets"]) or "no sets"
        versions = self.facts["versions"].items()
        lines = [
            f"{self.facts['processor']}: {sets}",
            ", ".join(f"{package} {version}" for package, version in versions),
            self.settings,
            self.facts["command"],
        ]
        return "\n".join(filter(None, lines))

    def text(self) -> str:
        """Returns the page for the terminal."""
        table = tables.aligned(self.lines, self.num_words)
        verdicts = "\n".join(self.verdicts)
        return "\n\n".join(filter(None, [self.header(), table, self.notes, verdicts]))

    def markdown(self) -> str:
        """Returns the page in Markdown."""
        parts = [
            f"# {self.title}",
            f"```\n{self.header()}\n```",
            tables.markdown(self.lines, self.num_words),
            self.notes,
            "\n".join(f"* {verdict}" for verdict in self.verdicts),
            f"![{self.chart.caption}]({self.name}.png)" if self.chart else "",
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: Path) -> str:
        """Writes .json, .md and, with a chart, .png into an existing folder.

        Returns:
            the files' names for a message, such as "docs/benchmark_infer.json, .md".
        """
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(self.facts, indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")
        if self.chart is None:
            return f"{path}, .md"
        self.chart.draw().savefig(path.with_suffix(".png"), dpi=_DPI)
        return f"{path}, .md, .png"

    def publish(self, folder: Path | None) -> None:
        """Prints the page, and writes the files if a folder is given."""
        print(self.text())
        if folder:
            print(f"\nWritten: {self.write(folder)}")


def machine_facts(
    command: str, packages: Sequence[str] = ALL_PACKAGES
) -> dict[str, Any]:
    """Returns the facts without which a time means nothing: command, machine, versions.

    Args:
        command: shell command that measures.
        packages: names of the packages whose versions count.
    """
    versions = {"python": platform.python_version(), **package_versions(packages)}
    return {
        "command": command,
        "processor": processor(),
        "instruction_sets": instruction_sets(),
        "versions": versions,
    }


def horizontal_bars(
    bars: Mapping[str, tuple[float, str]],
    title: str,
    xlabel: str,
    row_height: float,
    padding: float = 0,
    **options: Any,
) -> tuple[Any, Any]:
    """Draws a bar for each row of a table, the first row at the top.

    Args:
        bars: value and label of each bar, by the name of its row.
        title: stands above the chart.
        xlabel: meaning of the values.
        row_height: height of a row, in inches.
        padding: distance from a bar to its label, in points.
        options: further arguments of matplotlib's `Axes.barh`.

    Returns:
        the figure, and its axes for what is special to this chart.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + row_height * len(bars)), layout="constrained")
    axes = figure.subplots()
    values = [value for value, _ in bars.values()]
    drawn = axes.barh(list(bars), values, **options)
    axes.bar_label(drawn, [label for _, label in bars.values()], padding=padding)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
