"""Runs of the same training for several configurations and seeds, and their outcomes.

Every run is a folder that `scripts/train.py` makes and resumes.
"""

import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.config import Config, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.weights.files import list_checkpoints

METRICS_FILE = "metrics.jsonl"
"""The log of a run, which `training.monitor` writes."""
# Number of points of a curve of losses.
_NUM_POINTS = 40


class Row(NamedTuple):
    """A row of the comparison: a configuration with changes."""

    name: str
    cfg: str
    """A configuration file, or the name of a shipped one."""
    settings: list[str]
    """Changes of the configuration, as `--set` takes them."""


class Run(NamedTuple):
    """One training."""

    cfg: str
    name: str
    seed: int
    settings: list[str]
    folder: Path

    def config(self) -> Config:
        """Loads the configuration with its changes."""
        return load_config(self.cfg, self.settings)

    @property
    def iterations(self) -> int:
        return self.config().train.iterations


class Curve(NamedTuple):
    """Course of a training, as the run has logged it."""

    losses: list[tuple[int, float]]
    """(iteration, mean loss since the previous entry)."""
    mious: list[tuple[int, float]]
    """(iteration, mIoU as a fraction)."""
    classes: dict[str, float | None]
    """IoU of each class in the last evaluation; None where no pixel has the class."""


class Outcome(NamedTuple):
    """Results of one configuration with all seeds."""

    name: str
    iterations: int
    curves: dict[int, Curve]
    """Curves by seed."""

    @property
    def mious(self) -> dict[int, float]:
        """Last weights' mIoU, by seed."""
        return {seed: curve.mious[-1][1] for seed, curve in self.curves.items()}

    @property
    def mean(self) -> float:
        """Mean of the mIoU over the seeds."""
        return statistics.fmean(self.mious.values())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the mIoU over the seeds (n - 1); None for one seed."""
        mious = list(self.mious.values())
        return statistics.stdev(mious) if len(mious) > 1 else None

    @property
    def classes(self) -> dict[str, float]:
        """Mean IoU of each class over the seeds, in the order of the ids."""
        by_seed = [curve.classes for curve in self.curves.values()]
        ious = {name: [one[name] for one in by_seed] for name in by_seed[0]}
        return {
            name: statistics.fmean(iou for iou in values if iou is not None)
            for name, values in ious.items()
            if None not in values
        }


def list_rows(
    configurations: Sequence[str], variations: Sequence[Sequence[str]]
) -> list[Row]:
    """Lists what is compared: the configurations, then variations of the first one.

    Args:
        configurations: files, or names of shipped ones.
        variations: the name of each, and its changes, as `--set` takes them.

    Raises:
        UserError: for a name that two rows have, or that is not the name of a folder;
            for a variation without changes.
    """
    rows = [Row(Path(cfg).stem, cfg, []) for cfg in configurations]
    for name, *settings in variations:
        if not settings:
            raise UserError(
                f"--vary: received {name} alone; it needs a name and at least one "
                "setting, as in --vary no_decay train.weight_decay=0."
            )
        if not re.fullmatch(r"[\w-][\w.-]*", name):
            raise UserError(
                f"--vary: received the name {name}, which becomes a folder; allowed "
                "are letters, digits, '_', '-' and '.'. The name comes before settings."
            )
        rows.append(Row(name, configurations[0], list(settings)))
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            flag = "--vary" if name in [one[0] for one in variations] else "--cfg"
            raise UserError(f"{flag}: received {name} twice; each is run once.")
    return rows


def plan_runs(
    rows: Sequence[Row],
    seeds: Sequence[int],
    iterations: int | None,
    settings: Sequence[str],
    folder: Path,
) -> list[Run]:
    """Lists the runs: all rows with the first seed, then with the next one.

    Args:
        rows: what is compared.
        seeds: seeds of weights, order and augmentations.
        iterations: length of every run; None: that of each configuration.
        settings: further changes of every configuration, as `--set` takes them.
        folder: folder of the run folders.

    Raises:
        UserError: for a wrong setting, a seed given twice, or configurations whose
            metrics cannot be compared.
    """
    for seed in seeds:
        if list(seeds).count(seed) > 1:
            raise UserError(f"--seeds: received {seed} twice; each is run once.")
    # Early stopping would give each run another budget.
    shared = [*settings, "train.early_stopping=null"]
    if iterations:
        shared.append(f"train.iterations={iterations}")
    runs = [
        _plan_run(row, seed, [*row.settings, *shared], folder)
        for seed in seeds
        for row in rows
    ]
    first = runs[0].config().data
    for run in runs:
        if run.config().data != first:
            raise UserError(
                f"{run.name} trains on other data than {runs[0].name}, so their "
                "metrics cannot be compared. Their settings under data must be the "
                "same."
            )
    return runs


def _plan_run(row: Row, seed: int, settings: list[str], folder: Path) -> Run:
    total = load_config(row.cfg, settings).train.iterations
    log_every = f"train.log_every={max(1, total // _NUM_POINTS)}"
    changes = [*settings, log_every, f"train.seed={seed}"]
    return Run(row.cfg, row.name, seed, changes, folder / row.name / f"seed{seed}")


def is_finished(run: Run) -> bool:
    """Tells whether the run has its last weights and their mIoU."""
    checkpoints = list_checkpoints(run.folder)
    if not checkpoints or int(checkpoints[-1].name) != run.iterations:
        return False
    return has_last_miou(run)


def has_last_miou(run: Run) -> bool:
    """Tells whether the run's log has the mIoU of its last weights."""
    mious = read_curve(run.folder).mious
    return bool(mious) and mious[-1][0] == run.iterations


def read_curve(folder: Path) -> Curve:
    """Reads the log of a run folder; an empty curve where there is no log yet."""
    path = folder / METRICS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]

    def series(kind: str, field: str) -> list[tuple[int, float]]:
        return [
            (record["iteration"], record[field])
            for record in records
            if record["kind"] == kind
        ]

    evaluations = [record for record in records if record["kind"] == "val"]
    classes = evaluations[-1]["classes"] if evaluations else {}
    ious = {name: values["IoU"] for name, values in classes.items()}
    return Curve(series("train", "loss"), series("val", "mIoU"), ious)


def outcomes(runs: Sequence[Run]) -> list[Outcome]:
    """Collects the results of each configuration, in the order of `runs`."""
    curves_by_name: dict[str, dict[int, Curve]] = {}
    for run in runs:
        curves_by_name.setdefault(run.name, {})[run.seed] = read_curve(run.folder)
    iterations = {run.name: run.iterations for run in runs}
    return [
        Outcome(name, iterations[name], curves)
        for name, curves in curves_by_name.items()
    ]


def networks(runs: Sequence[Run]) -> dict[str, Config]:
    """Returns the configurations by name, for all that does not depend on the seed."""
    return {run.name: run.config() for run in runs}
