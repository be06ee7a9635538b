"""The report of `scripts/benchmark.py blocks`."""

from collections.abc import Sequence
from typing import Any

from benchmarks.blocks.costs import PASSES, BlockCost, promises
from benchmarks.report import KERAS_PACKAGES, Chart, Report, machine_facts

_NOTES = """\
Mmadd: 10^6 multiply-adds of the forward pass. ms: median time of an image; ratio: to
the first block, median over the rounds. MB: the most memory at a time beyond what goes
in (features, weights) and comes out (features, in training the gradients as well): all
that TensorFlow asks its allocator for, to the byte. forward: as in training; inference:
the form that is evaluated and exported; training: forward and backward."""


def blocks_report(
    command: str, channels: int, threads: int, costs: Sequence[BlockCost]
) -> Report:
    """Makes the report of a benchmark of context blocks.

    Args:
        command: shell command that measured.
        channels: channels of the input.
        threads: number of threads of each worker.
        costs: one for each row.
    """
    verdicts = promises(costs)
    facts = machine_facts(command, KERAS_PACKAGES) | {
        "channels": channels,
        "threads": threads,
        "promises": verdicts,
        "costs": [cost.to_dict() for cost in costs],
    }
    return Report(
        "benchmark_blocks",
        "Costs of each context block",
        facts,
        lines=_lines(costs),
        notes=_NOTES,
        settings=f"float32, batch 1, {channels} channels, {threads} thread(s)",
        verdicts=verdicts,
        chart=Chart("Time and memory", lambda: _draw(channels, costs)),
    )


def _lines(costs: Sequence[BlockCost]) -> list[list[str]]:
    """Returns the cells of the table, the head first."""
    head = ["size", "block", "parameters", "Mmadd"]
    for pass_name in PASSES:
        head += [f"{pass_name} ms", "ratio", "MB"]
    return [head, *map(_cells, costs)]


def _cells(cost: BlockCost) -> list[str]:
    cells = [
        "{}x{}".format(*cost.size),
        cost.block,
        f"{cost.parameters:,}",
        f"{cost.multiply_adds / 1e6:,.3f}",
    ]
    for pass_name in PASSES:
        timing = cost.times[pass_name]
        cells += [
            f"{1000 * timing.median:.1f}",
            f"{timing.ratio:.2f}",
            f"{cost.peak_bytes[pass_name] / 1e6:.3f}",
        ]
    return cells


def _draw(channels: int, costs: Sequence[BlockCost]) -> Any:
    """Draws time and memory of all blocks, a row of two charts for each size."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(cost.size for cost in costs))
    figure = Figure(figsize=(10, 3 * len(sizes)), layout="constrained")
    grid = figure.subplots(len(sizes), 2, squeeze=False)
    for size, (left, right) in zip(sizes, grid):
        of_size = [cost for cost in costs if cost.size == size]
        for index, pass_name in enumerate(PASSES):
            positions = [block + 0.27 * (index - 1) for block in range(len(of_size))]
            times = [1000 * cost.times[pass_name].median for cost in of_size]
            memory = [cost.peak_bytes[pass_name] / 1e6 for cost in of_size]
            for axes, values in ((left, times), (right, memory)):
                bars = axes.bar(positions, values, 0.25, label=pass_name, log=True)
                labels = [f"{x:,.0f}" if x >= 100 else f"{x:.2g}" for x in values]
                axes.bar_label(bars, labels, fontsize=7)
        for axes, unit in ((left, "ms"), (right, "MB beyond input and output")):
            axes.set_xticks(range(len(of_size)), [cost.block for cost in of_size])
            axes.set_title("{}x{}x{}: {}".format(*size, channels, unit))
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(y=0.1)
        left.legend()
    return figure
