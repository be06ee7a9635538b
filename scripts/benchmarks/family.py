"""The same training for several configurations and seeds: the runs and what came out.

Every run is a folder that `scripts/train.py` makes and goes on with.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.config import Config, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.weights.files import list_checkpoints

# What a run has written down (`training.monitor`).
_METRICS_FILE = "metrics.jsonl"
# Points of a curve.
_POINTS = 40


class Run(NamedTuple):
    """One training."""

    cfg: str
    """A configuration file, or the name of a shipped one."""
    name: str
    seed: int
    settings: list[str]
    """What is changed in the configuration, as `--set` takes it."""
    folder: Path

    def config(self) -> Config:
        return load_config(self.cfg, self.settings)

    @property
    def iterations(self) -> int:
        return self.config().train.iterations


class Curve(NamedTuple):
    """What a run has written down."""

    losses: list[tuple[int, float]]
    """(iteration, mean loss since the one before)."""
    scores: list[tuple[int, float]]
    """(iteration, mIoU as a fraction)."""


class Outcome(NamedTuple):
    """What came out for a configuration."""

    name: str
    curves: dict[int, Curve]
    """By seed."""

    @property
    def scores(self) -> dict[int, float]:
        """The last weights' mIoU by seed."""
        return {seed: curve.scores[-1][1] for seed, curve in self.curves.items()}

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores.values())


def plan_runs(
    configurations: Sequence[str],
    seeds: Sequence[int],
    iterations: int,
    settings: Sequence[str],
    folder: Path,
) -> list[Run]:
    """All configurations with the first seed, then with the next.

    Args:
        configurations: files, or names of shipped ones.
        seeds: of weights, order and augmentations.
        iterations: of every run.
        settings: further ones, of every run, as `--set` takes them.
        folder: for the run folders.

    Raises:
        UserError: for a wrong setting, two of one name, a seed given twice, or
            configurations whose scores would not compare.
    """
    names = [Path(cfg).stem for cfg in configurations]
    for what, given in (("--cfg", names), ("--seeds", seeds)):
        twice = [item for item in given if list(given).count(item) > 1]
        if twice:
            raise UserError(f"{what}: received {twice[0]} twice; each is run once.")
    budget = [
        f"train.iterations={iterations}",
        f"train.log_every={max(1, iterations // _POINTS)}",
        # It would give each another budget.
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
                f"{run.cfg} trains on other data than {runs[0].cfg}; their scores "
                "would not compare. Their settings under data must be the same."
            )
    return runs


def is_finished(run: Run) -> bool:
    """Whether the run has its last weights and their score."""
    checkpoints = list_checkpoints(run.folder)
    if not checkpoints or int(checkpoints[-1].name) != run.iterations:
        return False
    scores = read_curve(run.folder).scores
    return bool(scores) and scores[-1][0] == run.iterations


def read_curve(folder: Path) -> Curve:
    """What a run folder tells of its training; nothing where there is none yet."""
    path = folder / _METRICS_FILE
    lines = path.read_text().splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]

    def series(kind: str, field: str) -> list[tuple[int, float]]:
        return [
            (record["iteration"], record[field])
            for record in records
            if record["kind"] == kind
        ]

    return Curve(series("train", "loss"), series("val", "mIoU"))


def outcomes(runs: Sequence[Run]) -> list[Outcome]:
    """What came out, a configuration a row, in the order of `runs`."""
    found: dict[str, dict[int, Curve]] = {}
    for run in runs:
        found.setdefault(run.name, {})[run.seed] = read_curve(run.folder)
    return [Outcome(name, curves) for name, curves in found.items()]


def networks(runs: Sequence[Run]) -> dict[str, Config]:
    """Each configuration by name, for what does not depend on the seed."""
    return {run.name: run.config() for run in runs}
