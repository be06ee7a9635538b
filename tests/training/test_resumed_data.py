"""A resumed run goes on with the data that it was trained on, or says why not."""

import json
import shutil
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import save_image

from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.weights.files import checkpoint_state, newest_checkpoint

pytestmark = pytest.mark.usefixtures("toy_network")


@pytest.fixture
def make_config(tiny_config, tmp_path):
    """Makes configurations with images and records of their own."""
    data = tiny_config().data
    shutil.copytree(data.root, tmp_path / "images", copy_function=shutil.copy2)
    shutil.copytree(data.records, tmp_path / "records")
    own = [f"data.root={tmp_path}/images", f"data.records={tmp_path}/records"]
    return lambda *overrides: tiny_config(*own, *overrides)


def relabel(config):
    """Makes a training label a single class."""
    path = next((Path(config.data.root) / "train" / "labels").iterdir())
    save_image(path, np.ones((32, 32), np.uint8))


def warnings_of(*arguments, **options):
    """Trains, and returns our warnings; `pytest.warns` lifts the project's filters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        train(*arguments, **options)
    return " ".join(str(warning.message) for warning in caught)


def iteration(run):
    return checkpoint_state(newest_checkpoint(run))["iteration"]


def test_labels_that_changed_since_do_not_reach_a_resumed_run(make_config, tmp_path):
    run = tmp_path / "run"
    train(make_config("train.iterations=2"), run)
    relabel(make_config())
    before = checkpoint_state(newest_checkpoint(run))["records"]
    # As after Ctrl-C: nothing is left to do but to start and to end.
    text = warnings_of(make_config("train.iterations=2"), run, resume=True)
    assert "goes on with its records" in text and "converted again" not in text
    text = warnings_of(make_config("train.iterations=2"), tmp_path / "new")
    assert "They are converted again" in text
    after = checkpoint_state(newest_checkpoint(tmp_path / "new"))["records"]
    assert before["train"] != after["train"] and before["val"] == after["val"]

    # The second training has replaced the records of the first one.
    with pytest.raises(UserError, match=r"records of train are not those.*=ignore"):
        train(make_config("train.iterations=2"), run, resume=True)
    ignoring = make_config("train.iterations=2", "data.on_changed_source=ignore")
    train(ignoring, run, resume=True)


def test_the_same_files_converted_again_are_the_same_data(make_config, tmp_path):
    run = tmp_path / "run"
    config = make_config("train.iterations=2")
    train(config, run)
    for path in Path(config.data.root).rglob("*.*"):
        path.touch()  # as by a copy
    ensure_records(config, overwrite=True)
    train(config, run, resume=True)
    assert iteration(run) == 2


class Convert(keras.callbacks.Callback):
    """Converts changed files in the middle of a run, as another training's start."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            for split in ("train", "val"):
                for path in (Path(self.config.data.root) / split / "labels").iterdir():
                    save_image(path, np.ones((32, 32), np.uint8))
            ensure_records(self.config, overwrite=True)


def test_a_running_training_keeps_its_records(make_config, monkeypatch, tmp_path):
    digests = []

    def note(directory, split, **options):
        manifest = read_manifest(directory, split, **options)
        digests.append(manifest.content_digest())
        return manifest

    monkeypatch.setattr("gcnet_tf.evaluation.evaluate.read_manifest", note)
    config = make_config("train.iterations=8")  # three epochs, and four evaluations
    before = read_manifest(config.data.records, "val").content_digest()
    train(config, tmp_path / "run", callbacks=[Convert(config)])
    assert iteration(tmp_path / "run") == 8
    assert digests == [before] * 4
    assert read_manifest(config.data.records, "val").content_digest() != before
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["data"]["records"] == config.data.records
