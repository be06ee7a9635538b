"""A training whose data and run are at addresses, beside one on the disk."""

import random
from pathlib import Path

import pytest
from kills import compare_runs
from tiny import SETTINGS, make_images
from victims import Moment, run_victim

from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.files.remote.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

_SETTINGS = (
    *SETTINGS,
    "train.iterations=8",
    "train.log_every=3",
    "train.evaluate_every=4",
    "train.checkpoint_every=1",
    "train.early_stopping=9",
)
# Trainings that are killed in each store, twice each.
_KILLS = 2
# A part of the paths of the folder whose states are committed.
_WATCHED = "remote/runs"


@pytest.fixture(scope="module")
def whole(scripts, tmp_path_factory):
    """An undisturbed training on the disk: its images, and its run folder."""
    folder = tmp_path_factory.mktemp("whole")
    images = make_images(folder / "images")
    words = _words(images, folder / "records", folder / "run")
    outcome = run_victim(scripts, "train", *words)
    assert outcome.code == 0, outcome.output
    return images, folder / "run"


def _words(root, records, out):
    places = (f"data.root={root}", f"data.records={records}")
    return ["--cfg", "shapes_r18", "--set", *places, *_SETTINGS, "--out", out]


def _upload(images, address):
    place = Store(address, "x")
    for path in images.rglob("*"):
        if path.is_file():
            place.put(path.relative_to(images).as_posix(), path)


def _difference(address, run):
    return compare_runs(Path(local_copy(address, "x")), run)


def test_killed_trainings_end_as_one_on_the_disk(scripts, store, whole):
    """Converts to an address, trains there, and goes on after each kill."""
    address, _ = store
    images, run = whole
    _upload(images, f"{address}/images")
    source, records = f"{address}/images", f"{address}/records"

    undisturbed = _words(source, records, f"{address}/run")
    outcome = run_victim(scripts, "train", *undisturbed, watched=_WATCHED)
    assert outcome.code == 0, outcome.output
    assert "Trained: " + f"{address}/run" in outcome.output
    assert _difference(f"{address}/run", run) == ""
    again = run_victim(scripts, "train", *undisturbed)
    assert again.code == 2 and "already exists. Add --resume" in again.output

    rng = random.Random(0)
    for index in range(_KILLS):
        out = f"{address}/run{index}"
        words = _words(source, records, out)
        num_kills, resume = 0, []
        for _ in range(2):
            event = rng.randint(1, outcome.num_events)
            moment = Moment(_WATCHED, event, rng.choice([0, rng.uniform(0, 0.05)]))
            killed = run_victim(scripts, "train", *words, *resume, kill=moment)
            assert killed.code in (-9, 0), killed.output
            num_kills += killed.code == -9
            found = Store(out, "x").list()
            resume = ["--resume"] if any("objects/config" in n for n in found) else []
        if resume or any(Store(out, "x").list()):
            ended = run_victim(scripts, "train", *words, "--resume")
            if "Nothing to resume" in ended.output:
                ended = run_victim(scripts, "train", *words)
            assert ended.code == 0, ended.output
        assert num_kills and _difference(out, run) == ""


def test_a_training_in_spite_of_a_bad_network_ends_the_same(scripts, store, whole):
    """Every tenth request fails in some way, from the conversion to the last commit."""
    address, faulty = store
    images, run = whole
    _upload(images, f"{address}/images")
    rng = random.Random(1)
    faults = ("503", "429", "reset", "cut", "lost")

    def fault(number, method, path):
        return rng.choice(faults) if rng.random() < 0.1 else ""

    faulty.reset(fault)
    words = _words(f"{address}/images", f"{address}/records", f"{address}/run")
    outcome = run_victim(scripts, "train", *words)
    faulty.reset()
    assert outcome.code == 0, outcome.output
    assert _difference(f"{address}/run", run) == ""


def test_other_commands_read_the_run_and_write_on_the_disk(
    scripts, store, whole, tmp_path
):
    address, _ = store
    images, run = whole
    # A run that was copied there by other means is one, too.
    _upload(run, f"{address}/run")
    _upload(images, f"{address}/images")
    image = "val/images/val_00000.png"
    for model, source, out in (
        (f"{address}/run", f"{address}/images/{image}", tmp_path / "remote"),
        (run, images / image, tmp_path / "local"),
    ):
        words = ["--model", model, "--image", source, "--out", out]
        outcome = run_victim(scripts, "predict", *words)
        assert outcome.code == 0, outcome.output
    remote, local = (
        (tmp_path / folder / "val_00000.png").read_bytes()
        for folder in ("remote", "local")
    )
    assert remote == local


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"--out": "nix://box/run"}, "unknown scheme nix://"),
        ({"--out": "{scheme}://missing-box/run"}, "there is no bucket"),
        ({"data.records": "{scheme}://missing-box/x"}, "there is no bucket"),
        ({"data.root": "{scheme}://box/nothing"}, "there is no object"),
        ({"train.init_from": "{scheme}://box/none"}, "there is no object"),
    ],
)
def test_bad_input_is_one_sentence(changed, words, scripts, store, whole, tmp_path):
    address, _ = store
    images, _ = whole
    scheme = address.partition(":")[0]
    values = {key: value.format(scheme=scheme) for key, value in changed.items()}
    out = values.pop("--out", tmp_path / "run")
    places = {"data.root": images, "data.records": tmp_path / "records"} | values
    settings = [f"{key}={value}" for key, value in places.items()]
    arguments = ["--cfg", "shapes_r18", "--set", *settings, *_SETTINGS, "--out", out]
    outcome = run_victim(scripts, "train", *arguments)
    assert outcome.code == 2, outcome.output
    errors = [line for line in outcome.output.splitlines() if "Error: " in line]
    assert len(errors) == 1 and words in errors[0] and "Traceback" not in outcome.output
    assert not (tmp_path / "run" / "checkpoints").exists()
