"""Kills at random moments, after each of which a resumed run must end the same way."""

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from script_server import ScriptServer
from tiny import SETTINGS, make_images
from victims import Moment, Outcome, run_victim

STAGES = ("conversion", "training", "checkpoint", "export")
ITERATIONS = 8
# Longest time from a watched event to the kill, in seconds: long enough to hit the work
# that follows the event.
_LONGEST_DELAY = {
    "conversion": 0.02,
    "training": 0.1,
    "checkpoint": 0.02,
    "export": 0.5,
}
_SETTINGS = (
    *SETTINGS,
    f"train.iterations={ITERATIONS}",
    # Intervals of several iterations, so that kills hit the inside of one as well.
    "train.log_every=3",
    "train.evaluate_every=4",
    "train.checkpoint_every=1",
    "train.early_stopping=9",
)
# Number of moments to draw at most, until one comes before the end.
_MAX_TRIES = 5
# Fields that the clock decides; all others must be the same.
_TIMED = ("images_per_second", "waiting_for_data")


@dataclass(frozen=True)
class Kill:
    """A kill and its consequence; `difference` is "" when nothing differs."""

    stage: str
    moment: Moment
    killed: bool
    difference: str


class Line:
    """Conversion, training and export of a tiny data set in a folder of its own."""

    def __init__(self, scripts: ScriptServer, folder: Path, images: Path):
        self.scripts = scripts
        self.folder = folder
        self.images = images
        self.records = folder / "records"
        self.run = folder / "run"
        self.exports = folder / "exports"

    def _config_arguments(self) -> list[str]:
        folders = (f"data.root={self.images}", f"data.records={self.records}")
        words = [word for text in folders + _SETTINGS for word in ("--set", text)]
        return ["--cfg", "shapes_r18", *words]

    def do(self, stage: str, **options) -> Outcome:
        """Starts or resumes a stage; takes the options of `run_victim`."""
        if stage == "conversion":
            words = ["make_tfrecords", *self._config_arguments()]
        elif stage == "export":
            kind = ["--format", "saved_model", "--precision", "fp32", "--samples", "0"]
            words = ["export", "--model", self.run, "--out", self.exports, *kind]
        else:
            resume = ["--resume"] if (self.run / "config.json").is_file() else []
            words = [
                "train",
                *self._config_arguments(),
                "--out",
                str(self.run),
                *resume,
            ]
        return run_victim(self.scripts, *words, **options)

    @property
    def exported(self) -> Path:
        """Folder of the exported model."""
        return self.exports / "saved_model_fp32"

    def finish(self, stage: str) -> None:
        """Runs a stage to its end."""
        outcome = self.do(stage)
        assert outcome.code == 0, f"{stage} failed:\n{outcome.output[-3000:]}"


def watched(stage: str) -> str:
    """Returns the part of paths whose use marks the progress of a stage."""
    names = {
        "conversion": "records/train",
        "training": "metrics.jsonl",
        "checkpoint": "run/checkpoints",
        "export": "exports",
    }
    return names[stage]


def kill_at_random(
    scripts: ScriptServer, folder: Path, stages: list[str], seed: int
) -> Iterator[Kill]:
    """Kills each stage, resumes it, and compares the results with an undisturbed run.

    Args:
        scripts: server that runs the scripts.
        folder: folder for everything that is written.
        stages: stage of each kill, one of `STAGES`.
        seed: decides the moments.

    Yields:
        each kill and its consequence.
    """
    images = make_images(folder / "images")
    whole = Line(scripts, folder / "whole", images)
    num_events = {}
    for stage in ("conversion", "training", "export"):
        outcome = whole.do(stage, watched=watched(stage))
        assert outcome.code == 0, outcome.output
        num_events[stage] = outcome.num_events
    # An event is the use of a file; a checkpoint has about as many as there are here.
    num_events["checkpoint"] = 20 * ITERATIONS
    rng = random.Random(seed)
    for index, stage in enumerate(stages):
        line = Line(scripts, folder / f"kill{index}", images)
        yield _kill(line, whole, stage, rng, num_events)


def _kill(
    line: Line,
    whole: Line,
    stage: str,
    rng: random.Random,
    num_events: dict[str, int],
) -> Kill:
    if stage != "conversion":
        line.records = whole.records
    if stage == "export":
        line.run = whole.run
    for _ in range(_MAX_TRIES):
        delay = rng.choice([0.0, rng.uniform(0, _LONGEST_DELAY[stage])])
        moment = Moment(watched(stage), rng.randint(1, num_events[stage]), delay)
        outcome = line.do(stage, kill=moment)
        if outcome.code == -9:
            break
        # The stage ended before the moment; the next try finds what it has made.
    difference = _state_of_killed(line, stage)
    line.finish(stage)
    if stage == "conversion":
        difference = difference or compare_records(line.records, whole.records)
        line.finish("training")
    if stage == "export":
        difference = difference or compare_exports(line.exported, whole.exported)
    else:
        difference = difference or compare_runs(line.run, whole.run)
    shutil.rmtree(line.folder)
    return Kill(stage, moment, outcome.code == -9, difference)


def _state_of_killed(line: Line, stage: str) -> str:
    """Describes an incomplete result that looks complete; "" when there is none."""
    for checkpoint in (line.run / "checkpoints").glob("[0-9]*"):
        files = [p for p in checkpoint.iterdir() if not p.name.startswith("partial-")]
        if len(files) != 3:
            return f"{checkpoint.name} is not complete"
    if stage == "export" and line.exported.exists():
        if not (line.exported / "manifest.json").is_file():
            return "the export is not complete"
    return ""


def compare_records(first: Path, second: Path) -> str:
    """Describes the difference of two folders of records; "" when there is none."""
    for split in ("train", "val"):
        files = [
            {path.name: path.read_bytes() for path in (folder / split).iterdir()}
            for folder in (first, second)
        ]
        for contents in files:
            manifest = json.loads(contents.pop("manifest.json"))
            contents["shards"] = json.dumps(manifest["shards"]).encode()
        if files[0] != files[1]:
            return f"the records of {split} differ"
    return ""


def compare_runs(first: Path, second: Path) -> str:
    """Describes the difference of two finished runs, to the last bit; "" for none."""
    last = f"checkpoints/{ITERATIONS:08d}"
    for name in (f"{last}/model.weights.h5", "best.weights.h5"):
        if not _same(weights_in(first / name), weights_in(second / name)):
            return f"{name} differs"
    arrays = [dict(np.load(run / last / "optimizer.npz")) for run in (first, second)]
    if not _same(*arrays):
        return "the optimiser differs"
    if logged(first) != logged(second):
        return "metrics.jsonl differs"
    states = [
        json.loads((run / last / "state.json").read_text()) for run in (first, second)
    ]
    for key in ("iteration", "best_miou", "evaluations_since_best"):
        if states[0][key] != states[1][key]:
            return f"state.json differs in {key}"
    return ""


def compare_exports(first: Path, second: Path) -> str:
    """Describes the difference of two exports' predictions; "" when there is none."""
    from gcnet_tf.evaluation.load import load_predictor

    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    probabilities = [
        load_predictor(None, None, str(path), [])[0].probabilities(image)
        for path in (first, second)
    ]
    return "" if np.array_equal(*probabilities) else "the exported models differ"


def weights_in(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a weights file, by their paths in the file."""
    arrays = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return arrays


def logged(run: Path) -> list[dict]:
    """Reads metrics.jsonl without the fields that the clock decides."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [
        {field: value for field, value in record.items() if field not in _TIMED}
        for record in records
    ]


def _same(first: dict, second: dict) -> bool:
    """Compares two dicts of arrays."""
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
