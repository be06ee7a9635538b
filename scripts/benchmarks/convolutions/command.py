"""The command `scripts/benchmark.py convolutions`, from its arguments to its report."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.report import Chart, Report, horizontal_bars, machine_facts
from benchmarks.turns import limit_tensorflow

if TYPE_CHECKING:
    from benchmarks.convolutions.comparison import Comparison

_NOTES = """\
ms: median time of the usual way, for a layer TensorFlow's own convolution; ratio: of
the other way's time to it, median over the rounds; difference: the largest, as a share
of the largest number, or of the labels that differ. training: with both gradients."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures layers and leads, and publishes the report.

    Args:
        args: see `arguments.add_convolutions_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    start_tensorflow()
    from benchmarks.convolutions import layers, leads, rule
    from benchmarks.convolutions.comparison import HEAD

    limit_tensorflow(args.threads)
    rows = layers.compare_layers(layers.LAYERS, args.rounds)
    sizes = layers.compare_sizes(layers.SIZES, args.rounds)
    ratios = {x: row.ratio for x, row in zip(layers.SIZES, sizes)}
    rows += sizes
    rows += leads.compare_leads(args.rounds)
    facts = machine_facts(args.command_line)
    Report(
        "benchmark_convolutions",
        "Winograd convolution and other leads",
        facts | {"rows": [row._asdict() for row in rows]},
        lines=[HEAD, *(row.cells() for row in rows)],
        notes=_NOTES,
        verdicts=rule.verdicts(ratios),
        chart=Chart("Ratios", lambda: _draw(facts["processor"], rows)),
    ).publish(args.out)


def _draw(title: str, rows: "Sequence[Comparison]") -> Any:
    """Draws the ratios of all ways, and a line at 1."""
    figure, axes = horizontal_bars(
        {f"{row.what}: {row.way}": (row.ratio, f" {row.ratio:.2f}") for row in rows},
        title,
        "time, ratio to the usual way",
        row_height=0.25,
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    return figure
