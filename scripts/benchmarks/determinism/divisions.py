"""The same training in several divisions of the batch: losses, metrics and speed.

Each training is a process (or two) of its own, started as a user would start it.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import tables
from benchmarks.workers import SCRIPTS
from gcnet_tf.config import load_config
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.shapes import generate_shapes
from gcnet_tf.errors import UserError

# Ways to divide a batch: the script to run with its arguments, and settings.
DIVISIONS: dict[str, tuple[list[str], list[str]]] = {
    "1 device": (["train.py"], ["train.strategy=one_device"]),
    "2 replicas": (["train.py"], ["train.strategy=mirrored", "train.logical_cpus=2"]),
    "2 workers": (["launch_local.py", "--workers", "2", "--"], []),
}
PRECISIONS = {"float64": 1e-10, "float32": 1e-3}
"""Largest relative difference that two losses of one iteration may have."""

SIZE = 64
# A small training, but with every layer, augmentation and dropout. The 15 images of
# the evaluation do not divide by 2.
_SMALL = {
    "model.backbone.base_channels": 8,
    "model.head.channels": 32,
    "model.auxiliary.channels": 16,
    "augment.crop_size": [SIZE, SIZE],
    "augment.base_scale": [SIZE, SIZE],
    "evaluation.scale": [SIZE, SIZE],
    # Without these weights so short a training predicts the background everywhere.
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
    """Course of a training, as the run has logged it."""

    losses: list[float]
    metrics: list[dict]
    images_per_second: float
    """Median over the iterations without the first quarter."""


def make_data(folder: Path, more: Mapping[str, object] | None = None) -> list[str]:
    """Draws and converts a data set, and returns the settings to train on it.

    Args:
        folder: folder for images and records.
        more: further settings of the training.
    """
    generate_shapes(
        folder / "images", num_train=_NUM_TRAIN, num_val=_NUM_VAL, size=SIZE, seed=0
    )
    data = {"data.root": folder / "images", "data.records": folder / "records"}
    settings = [f"{key}={value}" for key, value in data.items()]
    small = {**_SMALL, **(more or {})}
    settings += [f"{key}={json.dumps(value)}" for key, value in small.items()]
    ensure_records(load_config("shapes_r18", settings))
    return settings


def run(division: str, settings: Sequence[str], out: Path) -> Course:
    """Trains in one division, and returns the course of the training.

    Args:
        division: one of `DIVISIONS`.
        settings: settings of the training.
        out: new run folder.

    Raises:
        UserError: with the output, when the training fails.
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
        encoding="utf-8",
    )
    if result.returncode:
        raise UserError(f"{division} failed:\n{result.stdout[-3000:]}")
    return read_course(out)


def read_course(out: Path) -> Course:
    """Reads the course of a training from the run folder's metrics.jsonl."""
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    train = [entry for entry in entries if entry["kind"] == "train"]
    return Course(
        losses=[entry["loss"] for entry in train],
        metrics=[entry for entry in entries if entry["kind"] == "val"],
        images_per_second=statistics.median(
            entry["images_per_second"] for entry in train[len(train) // 4 :]
        ),
    )


def difference(course: Course, other: Course) -> float:
    """Returns the largest relative difference of two losses of one iteration."""
    pairs = zip(course.losses, other.losses, strict=True)
    return max(abs(own - base) / base for own, base in pairs)


def table(courses: Mapping[str, Mapping[str, Course]]) -> str:
    """Returns a line for each precision and division, in Markdown."""
    head = [
        *("precision", "division", "loss 1", "loss 20", "largest difference"),
        *("allowed", "mIoU at 10 and 20", "evaluation"),
    ]
    lines = [head]
    for precision, by_division in courses.items():
        base = next(iter(by_division.values()))
        for division, course in by_division.items():
            lines.append(
                [
                    precision,
                    division,
                    f"{course.losses[0]:.15f}",
                    f"{course.losses[-1]:.15f}",
                    f"{difference(course, base):.1e}",
                    f"{PRECISIONS[precision]:.0e}",
                    ", ".join(f"{metrics['mIoU']:.12f}" for metrics in course.metrics),
                    "equal" if course.metrics == base.metrics else "differs",
                ]
            )
    return tables.markdown(lines, num_words=len(head))


def failures(courses: Mapping[str, Mapping[str, Course]]) -> list[str]:
    """Lists the broken promises; metrics must be equal in float64 only."""
    broken = []
    for precision, by_division in courses.items():
        base = next(iter(by_division.values()))
        for division, course in by_division.items():
            if difference(course, base) > PRECISIONS[precision]:
                broken.append(f"{precision}, {division}: losses differ")
            if precision == "float64" and course.metrics != base.metrics:
                broken.append(f"{precision}, {division}: metrics differ")
    return broken
