"""Training that is stopped, fills the disk, or meets damaged records."""

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
from training.runs import Do, records

from gcnet_tf.data.records.damage import DamagedData
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.training import Interrupted, train
from gcnet_tf.weights.files import checkpoint_state, newest_checkpoint


def test_a_signal_stops_an_evaluation_and_the_resumed_run_begins_with_it(
    tiny_config, tmp_path, monkeypatch, toy_network
):
    run = tmp_path / "run"
    config = tiny_config("train.iterations=2")
    counted = []

    def interrupted(predictor, config, split, on_sample, **options):
        def stop(index, *arrays):
            counted.append(index)
            on_sample(index, *arrays)
            os.kill(os.getpid(), signal.SIGTERM)

        return evaluate(predictor, config, split, on_sample=stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr("gcnet_tf.training.validation.evaluate", interrupted)
        with pytest.raises(Interrupted) as error:
            train(config, run)
    assert error.value.exit_code == 143
    assert counted == [0]  # of three images
    state = checkpoint_state(newest_checkpoint(run))
    assert state["iteration"] == 2 and state["evaluation_due"]
    assert not records(run, "val") and not (run / "best.weights.h5").exists()

    train(config, run, resume=True)
    assert [line["iteration"] for line in records(run, "val")] == [2]
    assert [line["iteration"] for line in records(run, "train")] == [1, 2]
    assert not checkpoint_state(newest_checkpoint(run))["evaluation_due"]
    assert (run / "best.weights.h5").exists()


def test_a_full_disk_is_explained_and_leaves_the_last_checkpoint(
    tiny_config, tmp_path, shallow
):
    run = tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(model):
        # As on a full disk: a write fails beyond this size of a file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(UserError, match="disk is full.*intact.*--resume"):
            train(tiny_config(), run, callbacks=[Do(3, fill)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest_checkpoint(run).name == "00000002"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"00000002"}


def damaged_copy(tiny_config, folder, *overrides):
    """Copies the records with a flipped byte in train and val; returns their config."""
    shutil.copytree(tiny_config().data.records, folder)
    config = tiny_config(f"data.records={folder}", *overrides)
    for split in ("train", "val"):
        shard = read_manifest(folder, split).shards[0]
        data = bytearray((folder / split / shard.file).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / split / shard.file).write_bytes(data)
    return config


def test_damaged_records_stop_the_training_or_are_counted(
    tiny_config, tmp_path, toy_network
):
    run = tmp_path / "run"
    config = damaged_copy(tiny_config, tmp_path / "records")
    name = read_manifest(config.data.records, "train").shards[0].file
    # Six images, two each: the damaged one comes in one of the first three batches.
    with pytest.raises(DamagedData, match=f"1 damaged sample: {name}, record 0"):
        train(config, run)
    (line,) = records(run, "damaged")
    assert line["iteration"] == checkpoint_state(newest_checkpoint(run))["iteration"]
    (sample,) = line["samples"]
    images = Path(config.data.root) / "train" / "images"
    assert (images / f"{sample['name']}.png").is_file()

    skipping = tiny_config(f"data.records={config.data.records}", "data.on_error=skip")
    train(skipping, run, resume=True)
    assert [line["iteration"] for line in records(run, "train")] == [1, 2, 3, 4]
    counts = {(line["split"], line["count"]) for line in records(run, "damaged")}
    assert counts == {("train", 1), ("val", 1)}
    assert "val: 1 damaged sample" in (run / "train.log").read_text()
