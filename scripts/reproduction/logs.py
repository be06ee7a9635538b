"""Loss curves: the reference's own training log beside a run of ours."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.files.results import new_result

# Points of the curves; each is a mean, because single losses scatter.
_POINTS = 20


class Curve(NamedTuple):
    """Losses of a training."""

    iterations: np.ndarray
    """`(points,)`, the last iteration of each mean."""
    losses: np.ndarray
    """`(points,)`, the sum of the decode head's and the auxiliary head's loss."""


def reference_losses(path: Path) -> Curve:
    """Reads a log of mmsegmentation: .log.json of 0.x, or scalars.json of 1.x.

    Raises:
        UserError: when the file cannot be read or holds no losses.
    """
    return _losses(
        path,
        (
            (entry.get("iter", entry.get("step")), entry.get("loss"))
            for entry in _entries(path)
            if entry.get("mode", "train") == "train"
        ),
        "a training log of mmsegmentation, NAME.log.json (0.x) or scalars.json (1.x)",
    )


def run_losses(path: Path) -> Curve:
    """Reads the losses of a run of ours, its metrics.jsonl.

    Raises:
        UserError: when the file cannot be read or holds no losses.
    """
    return _losses(
        path,
        (
            (entry.get("iteration"), entry.get("loss"))
            for entry in _entries(path)
            if entry.get("kind") == "train"
        ),
        "metrics.jsonl of a run",
    )


def side_by_side(ours: Curve, theirs: Curve) -> tuple[Curve, Curve]:
    """Averages two curves over the same spans of iterations, where both have losses."""
    last = min(ours.iterations[-1], theirs.iterations[-1])
    edges = np.unique(np.linspace(0, last, _POINTS + 1).round().astype(int))
    ends = edges[1:]
    spans = [np.searchsorted(ends, curve.iterations) for curve in (ours, theirs)]
    shared = [
        index
        for index in range(len(ends))
        if all((span == index).any() for span in spans)
    ]
    means = [
        np.array([curve.losses[span == index].mean() for index in shared])
        for curve, span in zip((ours, theirs), spans)
    ]
    return Curve(ends[shared], means[0]), Curve(ends[shared], means[1])


def loss_table(ours: Curve, theirs: Curve) -> str:
    """Returns a table of two curves of the same iterations."""
    lines = ["iteration   gcnet_tf   mmsegmentation   ratio"]
    for iteration, own, other in zip(ours.iterations, ours.losses, theirs.losses):
        lines.append(
            f"{iteration:>9}   {own:8.4f}   {other:14.4f}   {own / other:5.3f}"
        )
    return "\n".join(lines)


def draw(ours: Curve, theirs: Curve, title: str, path: Path) -> None:
    """Draws two curves into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(*theirs, "o--", color="0.5", label="mmsegmentation")
    axes.plot(*ours, "o-", label="gcnet_tf")
    axes.set(xlabel="iteration", ylabel="loss, mean of a span", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with new_result(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
    pyplot.close(figure)


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"Cannot read the log {path}: {error.strerror}.") from error
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        # The last line of a training that was killed, or text between the lines.
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _losses(path: Path, points: Iterable[tuple[Any, Any]], expected: str) -> Curve:
    """Keeps the points that are numbers; of a repeated iteration the last one."""
    losses = {
        int(iteration): float(loss)
        for iteration, loss in points
        if isinstance(iteration, int | float)
        and isinstance(loss, int | float)
        and np.isfinite([iteration, loss]).all()
        and iteration > 0
    }
    if not losses:
        raise UserError(f"{path} holds no losses; expected: {expected}.")
    iterations = np.array(sorted(losses))
    return Curve(iterations, np.array([losses[index] for index in iterations]))
