"""What `scripts/benchmark.py blocks` shows and writes."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.blocks import PASSES, Cost, kept
from benchmarks.machine import versions
from gcnet_tf.processor import instruction_sets, processor

NAME = "benchmark_blocks"
_PACKAGES = ("gcnet_tf", "tensorflow", "keras", "numpy")
_NOTES = """\
Mmadd: 10^6 multiply-adds of the forward pass. ms: median time of an image; ratio: to
the first block, median over the rounds. MB: the most memory at a time beyond what goes
in (features, weights) and comes out (features, in training the gradients as well): all
that TensorFlow asks its allocator for, to the byte. forward: as in training; inference:
the form that is evaluated and exported; training: forward and backward."""


def facts(command: str, channels: int, threads: int, costs: Sequence[Cost]) -> dict:
    """Everything about a measurement, for JSON."""
    return {
        "command": command,
        "processor": processor(),
        "instruction_sets": instruction_sets(),
        "versions": versions(_PACKAGES),
        "channels": channels,
        "threads": threads,
        "promises": kept(costs),
        "costs": [cost.to_dict() for cost in costs],
    }


def lines(costs: Sequence[Cost]) -> list[list[str]]:
    """The table's lines of cells, the first one its head."""
    head = ["size", "block", "parameters", "Mmadd"]
    for which in PASSES:
        head += [f"{which} ms", "ratio", "MB"]
    return [head, *map(_cells, costs)]


def _cells(cost: Cost) -> list[str]:
    cells = [
        "{}x{}".format(*cost.size),
        cost.block,
        f"{cost.parameters:,}",
        f"{cost.multiply_adds / 1e6:,.3f}",
    ]
    for which in PASSES:
        row = cost.times[which]
        cells += [
            f"{1000 * row.median:.1f}",
            f"{row.ratio:.2f}",
            f"{cost.peak_bytes[which] / 1e6:.3f}",
        ]
    return cells


def table(content: dict, costs: Sequence[Cost]) -> str:
    """For the terminal."""
    cells = lines(costs)
    widths = [max(map(len, column)) for column in zip(*cells)]
    rows = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths))
        for line in cells
    ]
    return "\n".join(
        [_header(content), "", *rows, "", _NOTES, "", *content["promises"]]
    )


def write(folder: Path, content: dict, costs: Sequence[Cost]) -> None:
    """Writes benchmark_blocks.json, .md and .png into a folder that is there."""
    (folder / f"{NAME}.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / f"{NAME}.md").write_text(_markdown(content, costs))
    _chart(folder / f"{NAME}.png", content, costs)


def _header(content: dict) -> str:
    found = ", ".join(
        f"{name} {number}" for name, number in content["versions"].items()
    )
    sets = " ".join(content["instruction_sets"]) or "no sets"
    return (
        f"{content['processor']}: {sets}\n{found}\nfloat32, batch 1, "
        f"{content['channels']} channels, {content['threads']} thread(s)\n"
        f"{content['command']}"
    )


def _markdown(content: dict, costs: Sequence[Cost]) -> str:
    head, *rows = lines(costs)
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])
    promises = "\n".join(f"* {line}" for line in content["promises"])
    return (
        "# What each context block costs\n\n"
        f"```\n{_header(content)}\n```\n\n{text}\n\n{_NOTES}\n\n{promises}\n\n"
        f"![Time and memory]({NAME}.png)\n"
    )


def _chart(path: Path, content: dict, costs: Sequence[Cost]) -> None:
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(cost.size for cost in costs))
    figure = Figure(figsize=(10, 3 * len(sizes)), layout="constrained")
    grid = figure.subplots(len(sizes), 2, squeeze=False)
    for size, (left, right) in zip(sizes, grid):
        chosen = [cost for cost in costs if cost.size == size]
        for number, which in enumerate(PASSES):
            places = [place + 0.27 * (number - 1) for place in range(len(chosen))]
            times = [1000 * cost.times[which].median for cost in chosen]
            memory = [cost.peak_bytes[which] / 1e6 for cost in chosen]
            for axes, values in ((left, times), (right, memory)):
                bars = axes.bar(places, values, 0.25, label=which, log=True)
                labels = [f"{x:,.0f}" if x >= 100 else f"{x:.2g}" for x in values]
                axes.bar_label(bars, labels, fontsize=7)
        for axes, what in ((left, "ms"), (right, "MB beyond input and output")):
            axes.set_xticks(range(len(chosen)), [cost.block for cost in chosen])
            axes.set_title("{}x{}x{}: {}".format(*size, content["channels"], what))
            axes.spines[["top", "right"]].set_visible(False)
            axes.margins(y=0.1)
        left.legend()
    figure.savefig(path, dpi=110)
