"""The report of `scripts/compare.py`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparison.costs import NetworkCost
from benchmarks.comparison.runs import Outcome
from benchmarks.report import KERAS_PACKAGES, Chart, Report, machine_facts

_NOTES = """\
mIoU: on val, of the last weights, mean over the seeds; +-: their standard deviation.
lowest: the class with the lowest IoU, and this IoU. parameters: without the auxiliary
head. Gmadd: 10^9 multiply-adds of an image; ms: median time of one, batch 1; ratio: to
the first row, median over the rounds, and the range. mmsegmentation: its own training
by the settings of the first row."""


def comparison_report(
    command: str,
    size: tuple[int, int],
    outcomes: Sequence[Outcome],
    costs: Mapping[str, NetworkCost],
) -> Report:
    """Makes the report of a comparison.

    Args:
        command: shell command that compared.
        size: (height, width) of the image that was timed.
        outcomes: one for each row.
        costs: costs by the same names, but for a row that is not ours.
    """
    facts = machine_facts(command, KERAS_PACKAGES) | {
        "size": size,
        "rows": [_to_dict(outcome, costs.get(outcome.name)) for outcome in outcomes],
    }
    return Report(
        "comparison",
        "Trainings compared",
        facts,
        lines=_lines(outcomes, costs),
        notes=_NOTES,
        settings=f"timed at {size[0]}x{size[1]}",
        num_words=1,
        chart=Chart("Loss and mIoU", lambda: _draw(outcomes)),
    )


def _to_dict(outcome: Outcome, cost: NetworkCost | None) -> dict:
    facts = {
        "name": outcome.name,
        "iterations": outcome.iterations,
        "miou": outcome.mean,
        "miou_deviation": outcome.spread,
        "miou_by_seed": outcome.mious,
        "iou_by_class": outcome.classes,
        "curves": {
            seed: {"losses": curve.losses, "scores": curve.mious}
            for seed, curve in outcome.curves.items()
        },
    }
    if cost is not None:
        facts["parameters"] = cost.parameters
        facts["multiply_adds"] = cost.multiply_adds
        facts["time"] = cost.timing.to_dict()
    return facts


def _lines(
    outcomes: Sequence[Outcome], costs: Mapping[str, NetworkCost]
) -> list[list[str]]:
    """Returns the cells of the table, the head first."""
    seeds = [f"seed {seed}" for seed in outcomes[0].curves]
    columns = ["mIoU", "+-", "lowest", "", "parameters", "Gmadd", "ms", "ratio"]
    lines = [["", "iterations", *seeds, *columns, "from", "to"]]
    for outcome in outcomes:
        lowest, iou = min(outcome.classes.items(), key=lambda item: item[1])
        lines.append(
            [
                outcome.name,
                f"{outcome.iterations}",
                *(f"{miou:.4f}" for miou in outcome.mious.values()),
                f"{outcome.mean:.4f}",
                "" if outcome.spread is None else f"{outcome.spread:.4f}",
                lowest,
                f"{iou:.3f}",
                *_cost_cells(costs.get(outcome.name)),
            ]
        )
    return lines


def _cost_cells(cost: NetworkCost | None) -> list[str]:
    if cost is None:
        return 6 * [""]
    return [
        f"{cost.parameters:,}",
        f"{cost.multiply_adds / 1e9:.3f}",
        f"{1000 * cost.timing.median:.1f}",
        f"{cost.timing.ratio:.3f}",
        f"{min(cost.timing.ratios):.3f}",
        f"{max(cost.timing.ratios):.3f}",
    ]


def _draw(outcomes: Sequence[Outcome]) -> Any:
    """Draws loss and mIoU by iteration: the seeds' mean, and each seed faintly."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, outcome in enumerate(outcomes):
        by_seed = outcome.curves.values()
        losses = [dict(curve.losses) for curve in by_seed]
        mious = [dict(curve.mious) for curve in by_seed]
        for axes, curves in ((left, losses), (right, mious)):
            # Seeds that reported at other iterations share only some of them.
            shared = sorted(set.intersection(*map(set, curves)))
            mean = [statistics.fmean(curve[x] for curve in curves) for x in shared]
            style = {"color": f"C{index}"}
            axes.plot(shared, mean, "o-", markersize=3, label=outcome.name, **style)
            for curve in curves if len(curves) > 1 else ():
                axes.plot(curve.keys(), curve.values(), alpha=0.3, **style)
    left.set(xlabel="iteration", ylabel="loss")
    right.set(xlabel="iteration", ylabel="mIoU on val", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend()
    return figure
