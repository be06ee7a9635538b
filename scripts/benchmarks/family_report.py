"""What `scripts/compare_blocks.py` shows and writes."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.family import Outcome
from benchmarks.infer import Row
from benchmarks.machine import versions
from gcnet_tf.processor import processor

NAME = "family"
_PACKAGES = ("gcnet_tf", "tensorflow", "keras", "numpy")
_NOTES = """\
mIoU: on val, of the last weights. parameters: without the auxiliary head. Gmadd: 10^9
multiply-adds of an image; ms: median time of one, batch 1; ratio: to the first row,
median over the rounds, and the range."""


class Cost(NamedTuple):
    """What a network costs, whatever its weights."""

    parameters: int
    multiply_adds: int
    """Of an image."""
    time: Row


def facts(
    command: str,
    size: tuple[int, int],
    iterations: int,
    outcomes: Sequence[Outcome],
    costs: Mapping[str, Cost],
) -> dict:
    """Everything about a comparison, for JSON.

    Args:
        command: what was run.
        size: (height, width) of the image that was timed.
        iterations: of every run.
        outcomes: one for each row.
        costs: by the same names.
    """
    return {
        "command": command,
        "processor": processor(),
        "versions": versions(_PACKAGES),
        "size": size,
        "iterations": iterations,
        "rows": [
            {
                "name": each.name,
                "miou": each.mean,
                "miou_by_seed": each.scores,
                "parameters": costs[each.name].parameters,
                "multiply_adds": costs[each.name].multiply_adds,
                "time": costs[each.name].time.to_dict(),
                "curves": {s: curve._asdict() for s, curve in each.curves.items()},
            }
            for each in outcomes
        ],
    }


def lines(content: dict) -> list[list[str]]:
    """The table's lines of cells, the first one its head."""
    seeds = list(content["rows"][0]["miou_by_seed"])
    head = ["", *(f"seed {seed}" for seed in seeds), "mIoU"]
    found = [[*head, "parameters", "Gmadd", "ms", "ratio", "from", "to"]]
    for row in content["rows"]:
        scores, time = row["miou_by_seed"].values(), row["time"]
        found.append(
            [
                row["name"],
                *(f"{score:.4f}" for score in scores),
                f"{row['miou']:.4f}",
                f"{row['parameters']:,}",
                f"{row['multiply_adds'] / 1e9:.3f}",
                f"{1000 * time['median_seconds']:.1f}",
                f"{time['ratio']:.3f}",
                f"{min(time['ratios']):.3f}",
                f"{max(time['ratios']):.3f}",
            ]
        )
    return found


def table(content: dict) -> str:
    """For the terminal."""
    cells = lines(content)
    widths = [max(map(len, column)) for column in zip(*cells)]
    rows = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths))
        )
        for line in cells
    ]
    return "\n".join([_header(content), "", *rows, "", _NOTES])


def write(folder: Path, content: dict) -> None:
    """Writes family.json, .md and .png into a folder that is there."""
    (folder / f"{NAME}.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / f"{NAME}.md").write_text(_markdown(content))
    _plot(folder / f"{NAME}.png", content)


def _header(content: dict) -> str:
    height, width = content["size"]
    found = ", ".join(
        f"{name} {number}" for name, number in content["versions"].items()
    )
    return (
        f"{content['iterations']} iterations each; timed at {height}x{width} on "
        f"{content['processor']}\n{found}\n{content['command']}"
    )


def _markdown(content: dict) -> str:
    head, *rows = lines(content)
    rule = ["---", *["---:"] * (len(head) - 1)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])
    return (
        "# The same training for each context block\n\n"
        f"```\n{_header(content)}\n```\n\n{text}\n\n{_NOTES}\n\n"
        f"![Loss and mIoU]({NAME}.png)\n"
    )


def _plot(path: Path, content: dict) -> None:
    """Loss and mIoU over the iterations: the seeds' mean, and each seed faintly."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, row in enumerate(content["rows"]):
        for axes, field in ((left, "losses"), (right, "scores")):
            series = [dict(curve[field]) for curve in row["curves"].values()]
            # Of runs that have reported at other iterations, what they share.
            shared = sorted(set.intersection(*map(set, series)))
            mean = [statistics.fmean(each[x] for each in series) for x in shared]
            colour = f"C{number}"
            axes.plot(shared, mean, "o-", color=colour, markersize=3, label=row["name"])
            for each in series if len(series) > 1 else ():
                axes.plot(each.keys(), each.values(), color=colour, alpha=0.3)
    left.set(xlabel="iteration", ylabel="loss")
    right.set(xlabel="iteration", ylabel="mIoU on val", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(path, dpi=110)
