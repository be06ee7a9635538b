"""Runs of the same training for several configurations and seeds, and their outcomes.

Every run is a folder that `scripts/train.py` makes and resumes.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.config import Config, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.weights.files import list_checkpoints

# The log of a run, which `training.monitor` writes.
_METRICS_FILE = "metrics.jsonl"
# Number of points of a curve of losses.
_NUM_POINTS = 40


class Run(NamedTuple):
    """One training."""

    cfg: str
    """A configuration file, or the name of a shipped one."""
    name: str
    seed: int
    settings: list[str]
    """Changes of the configuration, as `--set` takes them."""
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


class Outcome(NamedTuple):
    """Results of one configuration with all seeds."""

    name: str
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


def plan_runs(
    configurations: Sequence[str],
    seeds: Sequence[int],
    iterations: int,
    settings: Sequence[str],
    folder: Path,
) -> list[Run]:
    """Lists the runs: all configurations with the first seed, then with the next one.

    Args:
        configurations: files, or names of shipped ones.
        seeds: seeds of weights, order and augmentations.
        iterations: length of every run.
        settings: further changes of every configuration, as `--set` takes them.
        folder: folder of the run folders.

    Raises:
        UserError: for a wrong setting, two configurations of one name, a seed given
            twice, or configurations whose metrics cannot be compared.
    """
    names = [Path(cfg).stem for cfg in configurations]
    for flag, values in (("--cfg", names), ("--seeds", seeds)):
        repeated = [value for value in values if list(values).count(value) > 1]
        if repeated:
            raise UserError(f"{flag}: received {repeated[0]} twice; each is run once.")
    budget = [
        f"train.iterations={iterations}",
        f"train.log_every={max(1, iterations // _NUM_POINTS)}",
        # Early stopping would give each run another budget.
        "train.early_stopping=null",
    ]
    runs = [
        Run(
            cfg,
            name,
            seed,
            [*settings, *budget, f"train.seed={seed}"],
            folder / name / f"seed{seed}",
        )
        for seed in seeds
        for cfg, name in zip(configurations, names)
    ]
    first = runs[0].config().data
    for run in runs:
        if run.config().data != first:
            raise UserError(
                f"{run.cfg} trains on other data than {runs[0].cfg}, so their metrics "
                "cannot be compared. Their settings under data must be the same."
            )
    return runs


def is_finished(run: Run) -> bool:
    """Tells whether the run has its last weights and their mIoU."""
    checkpoints = list_checkpoints(run.folder)
    if not checkpoints or int(checkpoints[-1].name) != run.iterations:
        return False
    mious = read_curve(run.folder).mious
    return bool(mious) and mious[-1][0] == run.iterations


def read_curve(folder: Path) -> Curve:
    """Reads the log of a run folder; an empty curve where there is no log yet."""
    path = folder / _METRICS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]

    def series(kind: str, field: str) -> list[tuple[int, float]]:
        return [
            (record["iteration"], record[field])
            for record in records
            if record["kind"] == kind
        ]

    return Curve(series("train", "loss"), series("val", "mIoU"))


def outcomes(runs: Sequence[Run]) -> list[Outcome]:
    """Collects the results of each configuration, in the order of `runs`."""
    curves_by_name: dict[str, dict[int, Curve]] = {}
    for run in runs:
        curves_by_name.setdefault(run.name, {})[run.seed] = read_curve(run.folder)
    return [Outcome(name, curves) for name, curves in curves_by_name.items()]


def networks(runs: Sequence[Run]) -> dict[str, Config]:
    """Returns the configurations by name, for all that does not depend on the seed."""
    return {run.name: run.config() for run in runs}
