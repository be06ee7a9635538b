"""Kills at random moments, each followed by a resume that has to end the same way."""

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
# Seconds after a watched event: long enough to meet the work that follows it.
_LONGEST_DELAY = {
    "conversion": 0.02,
    "training": 0.1,
    "checkpoint": 0.02,
    "export": 0.5,
}
_SETTINGS = (
    *SETTINGS,
    f"train.iterations={ITERATIONS}",
    # So that killed runs stop inside of an interval as well.
    "train.log_every=3",
    "train.evaluate_every=4",
    "train.checkpoint_every=1",
    "train.early_stopping=9",
)
# Moments to draw, until one comes before the end.
_TRIES = 5
# What a clock decides; all else is to be the same.
_TIMED = ("images_per_second", "waiting_for_data")


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it; `difference` is "" when nothing differs."""

    stage: str
    moment: Moment
    killed: bool
    difference: str


class Line:
    """Conversion, training and export of a tiny data set, in a folder of its own."""

    def __init__(self, scripts: ScriptServer, folder: Path, images: Path):
        self.scripts = scripts
        self.folder = folder
        self.images = images
        self.records = folder / "records"
        self.run = folder / "run"
        self.exports = folder / "exports"

    def _configured(self) -> list[str]:
        folders = (f"data.root={self.images}", f"data.records={self.records}")
        words = [word for each in folders + _SETTINGS for word in ("--set", each)]
        return ["--cfg", "shapes_r18", *words]

    def do(self, stage: str, **options) -> Outcome:
        """Does, or goes on with, the work of a stage."""
        if stage == "conversion":
            words = ["make_tfrecords", *self._configured()]
        elif stage == "export":
            kind = ["--format", "saved_model", "--precision", "fp32", "--samples", "0"]
            words = ["export", "--model", self.run, "--out", self.exports, *kind]
        else:
            resume = ["--resume"] if (self.run / "config.json").is_file() else []
            words = ["train", *self._configured(), "--out", str(self.run), *resume]
        return run_victim(self.scripts, *words, **options)

    @property
    def exported(self) -> Path:
        """Names what the export makes."""
        return self.exports / "saved_model_fp32"

    def finish(self, stage: str) -> None:
        """Does a stage to its end."""
        outcome = self.do(stage)
        assert outcome.code == 0, f"{stage} failed:\n{outcome.output[-3000:]}"


def watched(stage: str) -> str:
    """The part of paths whose use marks the progress of a stage."""
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
    """Kills one stage after the other, resumes, and compares with a whole run.

    Args:
        scripts: runs the scripts.
        folder: for everything that is written.
        stages: of `STAGES`, one for each kill.
        seed: decides the moments.
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
    for _ in range(_TRIES):
        delay = rng.choice([0.0, rng.uniform(0, _LONGEST_DELAY[stage])])
        moment = Moment(watched(stage), rng.randint(1, num_events[stage]), delay)
        outcome = line.do(stage, kill=moment)
        if outcome.code == -9:
            break  # else it had ended before; what it made is there for the next one
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
    """What a killed process must not leave: anything half that looks whole."""
    for checkpoint in (line.run / "checkpoints").glob("[0-9]*"):
        if len(list(checkpoint.iterdir())) != 3:
            return f"{checkpoint.name} is not complete"
    if stage == "export" and line.exported.exists():
        if not (line.exported / "manifest.json").is_file():
            return "the export is not complete"
    return ""


def compare_records(one: Path, other: Path) -> str:
    """What differs between two folders of records; "" for nothing."""
    for split in ("train", "val"):
        files = [
            {path.name: path.read_bytes() for path in (folder / split).iterdir()}
            for folder in (one, other)
        ]
        for content in files:
            manifest = json.loads(content.pop("manifest.json"))
            content["shards"] = json.dumps(manifest["shards"]).encode()
        if files[0] != files[1]:
            return f"the records of {split} differ"
    return ""


def compare_runs(one: Path, other: Path) -> str:
    """What differs between the ends of two runs, to the last bit; "" for nothing."""
    last = f"checkpoints/{ITERATIONS:08d}"
    for name in (f"{last}/model.weights.h5", "best.weights.h5"):
        if not _same(weights_in(one / name), weights_in(other / name)):
            return f"{name} differs"
    arrays = [dict(np.load(run / last / "optimizer.npz")) for run in (one, other)]
    if not _same(*arrays):
        return "the optimiser differs"
    if logged(one) != logged(other):
        return "metrics.jsonl differs"
    states = [
        json.loads((run / last / "state.json").read_text()) for run in (one, other)
    ]
    for key in ("iteration", "best_miou", "evaluations_since_best"):
        if states[0][key] != states[1][key]:
            return f"state.json differs in {key}"
    return ""


def compare_exports(one: Path, other: Path) -> str:
    """What differs between the predictions of two exports; "" for nothing."""
    from gcnet_tf.evaluation.load import load_predictor

    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    scores = [
        load_predictor(None, None, str(p), [])[0].probabilities(image)
        for p in (one, other)
    ]
    return "" if np.array_equal(*scores) else "the exported models differ"


def weights_in(path: Path) -> dict[str, np.ndarray]:
    """Every array of a weights file by its path in there."""
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


def logged(run: Path) -> list[dict]:
    """metrics.jsonl without what a clock decides."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in each.items() if k not in _TIMED} for each in lines]


def _same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )
