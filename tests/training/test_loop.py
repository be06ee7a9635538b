"""Trainings with real steps: their files, and runs that must end with equal weights."""

import json

import numpy as np
import pytest
import tensorflow as tf
from training.runs import Do, final_weights, records, stop, values_of

from gcnet_tf.models import build_model
from gcnet_tf.training import train
from gcnet_tf.weights.files import list_checkpoints, load_weights

pytestmark = pytest.mark.usefixtures("shallow")


def events(run):
    """Reads the (tag, step) of all values in the TensorBoard log."""
    tags = set()
    for path in (run / "logs").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags |= {(value.tag, event.step) for value in event.summary.value}
    return tags


@pytest.fixture(scope="module")
def straight(tiny_config, tmp_path_factory):
    """An uninterrupted run of four iterations on one replica."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    callback = Do(0, None)
    train(tiny_config(), run, callbacks=[callback])
    return run, callback


def test_leaves_everything_in_the_run_folder(straight):
    run, _ = straight
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "versions.json",
        "metrics.jsonl",
        "train.log",
        "logs",
        "checkpoints",
        "best.weights.h5",
        "best.json",
    }
    assert [path.name for path in list_checkpoints(run)] == ["00000002", "00000004"]
    text = (run / "train.log").read_text()
    assert "Training on the processor: " in text.splitlines()[0]
    assert "iteration 4/4: loss" in text and "val mIoU" in text


def test_logs_the_reference_learning_rates_and_both_losses(straight):
    lines = records(straight[0], "train")
    assert [record["iteration"] for record in lines] == [1, 2, 3, 4]
    rates = [(0.1 - 1e-4) * (1 - t / 4) ** 0.9 + 1e-4 for t in range(4)]
    np.testing.assert_allclose([r["learning_rate"] for r in lines], rates)
    for record in lines:
        parts = record["decode_loss"] + record["auxiliary_loss"]
        assert record["loss"] == pytest.approx(parts)
        assert 0 <= record["waiting_for_data"] <= 1


def test_tensorboard_has_curves_and_panels(straight):
    tags = events(straight[0])
    assert {tag for tag, step in tags if step == 4} >= {
        "train/loss",
        "train/learning_rate",
        "speed/images_per_second",
        "speed/waiting_for_data",
        "val/mIoU",
        "val_IoU/circle",
        "val/image_truth_prediction_0",
        "val/image_truth_prediction_1",
    }


def test_best_weights_are_those_of_the_best_evaluation(straight):
    run, _ = straight
    mious = {record["iteration"]: record["mIoU"] for record in records(run, "val")}
    best = json.loads((run / "best.json").read_text())
    assert best["mIoU"] == max(mious.values()) == mious[best["iteration"]]


def test_keras_callbacks_get_an_epoch_per_evaluation(straight):
    run, callback = straight
    mious = [record["mIoU"] for record in records(run, "val")]
    assert [epoch for epoch, _ in callback.epochs] == [0, 1]
    assert [logs["val_mIoU"] for _, logs in callback.epochs] == mious


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    straight, tiny_config, tmp_path
):
    config = tiny_config()
    # No checkpoint is due at iteration 3: stopping makes one.
    train(config, tmp_path / "run", callbacks=[Do(3, stop)])
    assert list_checkpoints(tmp_path / "run")[-1].name == "00000003"
    train(config, tmp_path / "run", resume=True)
    expected = final_weights(config, straight[0])
    for path, value in final_weights(config, tmp_path / "run").items():
        np.testing.assert_array_equal(value, expected[path])
    assert [r["iteration"] for r in records(tmp_path / "run", "train")] == [1, 2, 3, 4]


def test_resuming_a_finished_run_changes_nothing(straight, tiny_config):
    before = (straight[0] / "metrics.jsonl").read_text()
    train(tiny_config(), straight[0], resume=True)
    assert (straight[0] / "metrics.jsonl").read_text() == before


def test_two_replicas_train_as_one(straight, tiny_config, plain_predictor, tmp_path):
    config = tiny_config("train.logical_cpus=2")
    train(config, tmp_path / "run")
    one_replica, two_replicas = (
        records(run, "train") for run in (straight[0], tmp_path / "run")
    )
    np.testing.assert_allclose(
        [record["loss"] for record in two_replicas],
        [record["loss"] for record in one_replica],
        rtol=1e-3,
    )
    expected = final_weights(config, straight[0])
    for path, value in final_weights(config, tmp_path / "run").items():
        np.testing.assert_allclose(value, expected[path], atol=2e-3, err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_on_two_replicas(
    precision, tiny_config, straight, plain_predictor, tmp_path
):
    config = tiny_config(
        f"train.precision={precision}", "train.logical_cpus=2", "train.iterations=2"
    )
    train(config, tmp_path / "run")
    first = [
        records(run, "train")[0]["loss"] for run in (straight[0], tmp_path / "run")
    ]
    assert first[1] == pytest.approx(first[0], rel=0.02)


def test_starts_from_another_run_and_leaves_frozen_stages(
    straight, tiny_config, plain_predictor, tmp_path
):
    run, _ = straight
    config = tiny_config(
        f"train.init_from={run}",
        "model.backbone.frozen_stages=2",
        "train.head_lr_multiplier=10",
        "train.iterations=2",
        "train.logical_cpus=2",
    )
    train(config, tmp_path / "run")
    assert (
        f"Starting from {run}, all weights."
        in (tmp_path / "run" / "train.log").read_text()
    )
    start = build_model(config)
    load_weights(start, run / "best.weights.h5")
    before = values_of(start)
    frozen = ("stem", "stage1_", "stage2_")
    for path, value in final_weights(config, tmp_path / "run").items():
        same = np.array_equal(value, before[path])
        # Softmax ignores the mask's bias; only the weight decay moves it, from 0.
        if not path.endswith("mask/bias"):
            assert same == path.split("/")[1].startswith(frozen), path
