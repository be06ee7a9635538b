"""Training that is stopped, fills the disk, or meets damaged records."""

import os
import resource
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
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


def failing(predictor, config, split, **options):
    raise MemoryError("no memory for the evaluation")


def interrupted_hard(predictor, config, split, **options):
    raise KeyboardInterrupt  # nothing is saved after it, as after a kill


def values_of_checkpoint(run):
    """Reads the arrays of weights and optimiser of the newest checkpoint."""
    checkpoint = newest_checkpoint(run)
    arrays = dict(np.load(checkpoint / "optimizer.npz"))

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(checkpoint / "model.weights.h5") as file:
        file.visititems(add)
    return arrays


@pytest.mark.parametrize("end", [failing, interrupted_hard])
def test_a_run_resumes_with_the_evaluation_that_failed(
    end, tiny_config, tmp_path, monkeypatch, toy_network
):
    run, whole = tmp_path / "run", tmp_path / "whole"
    # No checkpoint is due before the end.
    config = tiny_config("train.evaluate_every=3", "train.checkpoint_every=100")
    with monkeypatch.context() as patch:
        patch.setattr("gcnet_tf.training.validation.evaluate", end)
        with pytest.raises((MemoryError, KeyboardInterrupt)):
            train(config, run)
    state = checkpoint_state(newest_checkpoint(run))
    assert state["iteration"] == 3 and state["evaluation_due"]

    train(config, run, resume=True)
    train(config, whole)
    for kind in ("train", "val"):
        lines, expected = (
            [(line["iteration"], line.get("loss"), line.get("mIoU")) for line in found]
            for found in (records(run, kind), records(whole, kind))
        )
        assert lines == expected
    arrays, expected = values_of_checkpoint(run), values_of_checkpoint(whole)
    assert arrays.keys() == expected.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_metrics_of_an_evaluation_that_is_repeated_are_dropped(
    tiny_config, tmp_path, monkeypatch, toy_network
):
    """Ends between the report of the metrics and the second checkpoint."""
    run, config = tmp_path / "run", tiny_config()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gcnet_tf.training.validation.save_best", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, run)
    assert [line["iteration"] for line in records(run, "val")] == [2]
    train(config, run, resume=True)
    assert [line["iteration"] for line in records(run, "val")] == [2, 4]
    assert [line["iteration"] for line in records(run, "train")] == [1, 2, 3, 4]


def test_a_damaged_validation_record_ends_a_run_with_a_checkpoint(
    tiny_config, tmp_path, toy_network
):
    config = damaged_copy(tiny_config, tmp_path / "records", splits=("val",))
    with pytest.raises(DamagedData, match="1 damaged sample"):
        train(config, tmp_path / "run")
    state = checkpoint_state(newest_checkpoint(tmp_path / "run"))
    assert state["iteration"] == 2 and state["evaluation_due"]


def test_an_error_in_a_callback_saves(tiny_config, tmp_path, toy_network):
    def fail(model):
        raise RuntimeError("of a user")

    with pytest.raises(RuntimeError, match="of a user"):
        train(tiny_config(), tmp_path / "run", callbacks=[Do(3, fail)])
    assert newest_checkpoint(tmp_path / "run").name == "00000003"


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


def damaged_copy(tiny_config, folder, splits=("train", "val")):
    """Copies the records with a flipped byte in `splits`; returns their config."""
    shutil.copytree(tiny_config().data.records, folder)
    config = tiny_config(f"data.records={folder}")
    for split in splits:
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
