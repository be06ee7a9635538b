"""The same training in several divisions, side by side: losses, scores and speed.

Each is a process (or two) of its own, started as a user would start it.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.workers import SCRIPTS
from gcnet_tf.config import load_config
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.shapes import generate_shapes
from gcnet_tf.errors import UserError

# How a batch can be divided: what is run, with which settings.
DIVISIONS: dict[str, tuple[list[str], list[str]]] = {
    "1 device": (["train.py"], ["train.strategy=one_device"]),
    "2 replicas": (["train.py"], ["train.strategy=mirrored", "train.logical_cpus=2"]),
    "2 workers": (["launch_local.py", "--workers", "2", "--"], []),
}
PRECISIONS = {"float64": 1e-10, "float32": 1e-3}
"""What two courses may differ by, relatively."""

SIZE = 64
# Small, but all there is: every layer, augmentation and dropout. 15 do not divide by 2.
_SMALL = {
    "model.backbone.base_channels": 8,
    "model.head.channels": 32,
    "model.auxiliary.channels": 16,
    "augment.crop_size": [SIZE, SIZE],
    "augment.base_scale": [SIZE, SIZE],
    "evaluation.scale": [SIZE, SIZE],
    # So short a training would find the background everywhere.
    "train.class_weights": [0.05, 1, 1, 1, 1, 1],
    "train.batch_size": 8,
    "train.learning_rate": 0.02,
    "train.iterations": 20,
    "train.log_every": 1,
    "train.evaluate_every": 10,
    "train.panels": 0,
}
_NUM_TRAIN, _NUM_VAL = 60, 15


class Course(NamedTuple):
    """What a run has written down."""

    losses: list[float]
    scores: list[dict]
    images_per_second: float
    """Median over the iterations, without the first ones."""


def make_data(folder: Path, more: Mapping[str, object] | None = None) -> list[str]:
    """Draws a data set and converts it; returns the settings to train on it."""
    generate_shapes(
        folder / "images", num_train=_NUM_TRAIN, num_val=_NUM_VAL, size=SIZE, seed=0
    )
    places = {"data.root": folder / "images", "data.records": folder / "records"}
    settings = [f"{key}={value}" for key, value in places.items()]
    small = {**_SMALL, **(more or {})}
    settings += [f"{key}={json.dumps(value)}" for key, value in small.items()]
    ensure_records(load_config("shapes_r18", settings))
    return settings


def run(division: str, settings: Sequence[str], out: Path) -> Course:
    """Trains in this division.

    Raises:
        UserError: with the output, when training fails.
    """
    (script, *words), own = DIVISIONS[division]
    command = [sys.executable, str(SCRIPTS / script), *words, "--cfg", "shapes_r18"]
    for setting in (*settings, *own):
        command += ["--set", setting]
    result = subprocess.run(
        [*command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise UserError(f"{division} failed:\n{result.stdout[-3000:]}")
    return read_course(out)


def read_course(out: Path) -> Course:
    """Reads metrics.jsonl of a run."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    train = [entry for entry in entries if entry["kind"] == "train"]
    return Course(
        losses=[entry["loss"] for entry in train],
        scores=[entry for entry in entries if entry["kind"] == "val"],
        images_per_second=statistics.median(
            entry["images_per_second"] for entry in train[len(train) // 4 :]
        ),
    )


def difference(course: Course, other: Course) -> float:
    """The largest relative difference of two losses of one iteration."""
    pairs = zip(course.losses, other.losses, strict=True)
    return max(abs(one - two) / two for one, two in pairs)


def table(courses: Mapping[str, Mapping[str, Course]]) -> str:
    """A line for each precision and division, in Markdown."""
    lines = [
        "| precision | division | loss 1 | loss 20 | largest difference | allowed "
        "| mIoU at 10 and 20 | evaluation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for precision, found in courses.items():
        base = next(iter(found.values()))
        for name, course in found.items():
            scores = ", ".join(f"{score['mIoU']:.12f}" for score in course.scores)
            same = "equal" if course.scores == base.scores else "differs"
            lines.append(
                f"| {precision} | {name} | {course.losses[0]:.15f} | "
                f"{course.losses[-1]:.15f} | {difference(course, base):.1e} | "
                f"{PRECISIONS[precision]:.0e} | {scores} | {same} |"
            )
    return "\n".join(lines)


def failures(courses: Mapping[str, Mapping[str, Course]]) -> list[str]:
    """What is not as promised; scores must be equal in float64."""
    found = []
    for precision, runs in courses.items():
        base = next(iter(runs.values()))
        for name, course in runs.items():
            if difference(course, base) > PRECISIONS[precision]:
                found.append(f"{precision}, {name}: losses differ")
            if precision == "float64" and course.scores != base.scores:
                found.append(f"{precision}, {name}: scores differ")
    return found
