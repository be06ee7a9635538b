import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.record_manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.metrics import Scores
from gcnet_tf.models import build_model
from gcnet_tf.training import Interrupted, train
from gcnet_tf.training.class_weights import inverse_square_root
from gcnet_tf.weights import (
    WEIGHTS_FILE,
    checkpoint_state,
    list_checkpoints,
    load_weights,
    weights_by_path,
)


def final_weights(config, run):
    model = build_model(config)
    load_weights(model, list_checkpoints(run)[-1] / WEIGHTS_FILE)
    return values_of(model)


def values_of(model):
    return {path: weight.numpy() for path, weight in weights_by_path(model).items()}


def records(run, kind):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def events(run):
    """(tag, step) of everything in the TensorBoard log."""
    found = set()
    for path in (run / "logs").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found |= {(value.tag, event.step) for value in event.summary.value}
    return found


class Do(keras.callbacks.Callback):
    """Does something after an iteration, and keeps what it was told."""

    def __init__(self, iteration, action):
        super().__init__()
        self.iteration, self.action = iteration, action
        self.epochs = []

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.iteration:
            self.action(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs))


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
    assert "iteration 4/4: loss" in text and "val mIoU" in text


def test_logs_the_reference_learning_rates_and_both_losses(straight):
    found = records(straight[0], "train")
    assert [record["iteration"] for record in found] == [1, 2, 3, 4]
    rates = [(0.2 - 1e-4) * (1 - t / 4) ** 0.9 + 1e-4 for t in range(4)]
    np.testing.assert_allclose([r["learning_rate"] for r in found], rates)
    for record in found:
        parts = record["decode_loss"] + record["auxiliary_loss"]
        assert record["loss"] == pytest.approx(parts)
        assert 0 <= record["waiting_for_data"] <= 1


def test_tensorboard_has_curves_and_panels(straight):
    found = events(straight[0])
    assert {tag for tag, step in found if step == 4} >= {
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
    scores = {record["iteration"]: record["mIoU"] for record in records(run, "val")}
    best = json.loads((run / "best.json").read_text())
    assert best["mIoU"] == max(scores.values()) == scores[best["iteration"]]


def test_keras_callbacks_get_an_epoch_per_evaluation(straight):
    run, callback = straight
    scores = [record["mIoU"] for record in records(run, "val")]
    assert [epoch for epoch, _ in callback.epochs] == [0, 1]
    assert [logs["val_mIoU"] for _, logs in callback.epochs] == scores


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    straight, tiny_config, tmp_path
):
    def stop(model):
        model.stop_training = True

    config = tiny_config()
    # Iteration 3 is not one at which a checkpoint is due: stopping makes one.
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


def test_two_replicas_train_as_one(straight, tiny_config, tmp_path):
    config = tiny_config("train.logical_cpus=2")
    train(config, tmp_path / "run")
    one, two = (records(run, "train") for run in (straight[0], tmp_path / "run"))
    np.testing.assert_allclose(
        [record["loss"] for record in two],
        [record["loss"] for record in one],
        rtol=1e-3,
    )
    expected = final_weights(config, straight[0])
    for path, value in final_weights(config, tmp_path / "run").items():
        np.testing.assert_allclose(value, expected[path], atol=2e-3, err_msg=path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_where(number, tiny_config, tmp_path):
    callback = Do(1, lambda model: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="iteration 1") as error:
        train(tiny_config(), tmp_path / "run", callbacks=[callback])
    assert error.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert list_checkpoints(tmp_path / "run")[-1].name == "00000001"
    assert signal.getsignal(number) == before


def test_a_loss_that_is_not_finite_stops_with_the_samples(tiny_config, tmp_path):
    config = tiny_config("train.learning_rate=1e30", "train.iterations=9")
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    text = str(error.value)
    assert "not finite at iteration" in text and "decode_loss nan" in text
    names = text.split("samples: ")[1].split(".")[0].split(", ")
    images = Path(config.data.root) / "train" / "images"
    assert len(names) == 2
    assert all((images / f"{name}.png").is_file() for name in names)


def test_the_batch_must_divide_over_the_replicas(tiny_config, tmp_path):
    config = tiny_config("train.logical_cpus=2", "train.batch_size=3")
    with pytest.raises(UserError, match="train.batch_size is 3.*multiple of 2"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_on_two_replicas(precision, tiny_config, straight, tmp_path):
    config = tiny_config(
        f"train.precision={precision}", "train.logical_cpus=2", "train.iterations=2"
    )
    train(config, tmp_path / "run")
    first = [
        records(run, "train")[0]["loss"] for run in (straight[0], tmp_path / "run")
    ]
    assert first[1] == pytest.approx(first[0], rel=0.02)


def test_out_of_memory_names_the_settings_to_lower(tiny_config, tmp_path, monkeypatch):
    def exhausted(*arguments):
        def step(batch):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

        return step

    monkeypatch.setattr("gcnet_tf.training.loop.make_train_step", exhausted)
    with pytest.raises(UserError, match="Lower train.batch_size or augment.crop_size"):
        train(tiny_config(), tmp_path / "run")


def test_missing_data_leaves_no_run_folder(tiny_config, tmp_path):
    config = tiny_config(f"data.records={tmp_path}/none", "data.dataset=voc12aug")
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, root=str(tmp_path / "gone"))
    )
    with pytest.raises(UserError, match="There are no records"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_starts_from_another_run_and_leaves_frozen_stages(
    straight, tiny_config, tmp_path
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


def test_a_start_that_is_missing_leaves_no_run_folder(tiny_config, tmp_path):
    config = tiny_config(f"train.init_from={tmp_path}/gone.weights.h5")
    with pytest.raises(UserError, match="No weights file"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_does_not_need_its_start(tiny_config, tmp_path):
    run = tmp_path / "run"
    train(tiny_config("train.iterations=2"), run)
    gone = f"model.backbone.pretrained={tmp_path}/gone.pth"
    train(tiny_config("train.iterations=2", gone), run, resume=True)
    assert f"Loaded {run}" in (run / "train.log").read_text()


def scripted_scores(monkeypatch, mious):
    """Lets the evaluations give these mIoU, one after the other."""
    remaining = iter(mious)

    def evaluate(predictor, split, **options):
        miou = next(remaining)
        return Scores(np.zeros(6), np.zeros(6), miou, miou, miou)

    monkeypatch.setattr("gcnet_tf.training.loop.evaluate", evaluate)


def test_early_stopping_is_at_the_same_place_after_a_resume(
    tiny_config, tmp_path, monkeypatch
):
    scripted_scores(monkeypatch, [0.5, 0.4, 0.6, 0.6, 0.1, 0.7])
    config = tiny_config(
        "train.early_stopping=2", "train.evaluate_every=1", "train.iterations=6"
    )
    run = tmp_path / "run"

    def stop(model):
        model.stop_training = True

    def last_state():
        return checkpoint_state(list_checkpoints(run)[-1])

    # One evaluation at 4 has not improved on that at 3; equal is not better.
    train(config, run, callbacks=[Do(4, stop)])
    assert "Stopped early" not in (run / "train.log").read_text()
    assert last_state()["evaluations_since_best"] == 1
    train(config, run, resume=True)
    assert [r["iteration"] for r in records(run, "val")] == [1, 2, 3, 4, 5]
    text = (run / "train.log").read_text()
    assert "Stopped early at iteration 5: no better mIoU in 2 evaluations." in text
    assert last_state()["iteration"] == 5
    assert json.loads((run / "best.json").read_text())["iteration"] == 3

    train(config, run, resume=True)  # it has stopped, and stays so
    assert last_state()["iteration"] == 5
    more = tiny_config("train.evaluate_every=1", "train.iterations=6")
    train(more, run, resume=True)  # as the message says
    state = last_state()
    assert (state["iteration"], state["best_miou"]) == (6, 0.7)
    assert state["evaluations_since_best"] == 0


def test_a_run_that_ends_has_not_stopped_early(tiny_config, tmp_path, monkeypatch):
    scripted_scores(monkeypatch, [0.5, 0.4])
    train(tiny_config("train.early_stopping=1"), tmp_path / "run")
    assert "Stopped early" not in (tmp_path / "run" / "train.log").read_text()


def test_state_of_an_older_version_can_be_resumed(tiny_config, tmp_path, monkeypatch):
    scripted_scores(monkeypatch, [0.5])
    config = tiny_config("train.early_stopping=1", "train.iterations=1")
    run = tmp_path / "run"
    train(config, run)
    path = list_checkpoints(run)[-1] / "state.json"
    path.write_text(json.dumps({"iteration": 1, "best_miou": 0.5}))
    train(config, run, resume=True)
    assert "Resuming" in (run / "train.log").read_text()


def test_class_weights_hold_for_both_losses(straight, tiny_config, tmp_path):
    config = tiny_config("train.class_weights=[2,2,2,2,2,2]", "train.iterations=1")
    train(config, tmp_path / "run")
    plain, weighted = (
        records(run, "train")[0] for run in (straight[0], tmp_path / "run")
    )
    for name in ("decode_loss", "auxiliary_loss"):
        assert weighted[name] == pytest.approx(2 * plain[name], rel=1e-5)


def test_automatic_class_weights_are_logged(straight, tiny_config, tmp_path):
    config = tiny_config("train.class_weights=auto", "train.iterations=1")
    train(config, tmp_path / "run")
    text = (tmp_path / "run" / "train.log").read_text()
    manifest = read_manifest(config.data.records, "train")
    weights = inverse_square_root(manifest.class_histogram)
    assert f"Class weights: background {weights[0]:.3g}, circle " in text
    plain, weighted = (
        records(run, "train")[0]["loss"] for run in (straight[0], tmp_path / "run")
    )
    assert weighted != pytest.approx(plain, rel=0.01)


def test_a_wrong_number_of_class_weights_leaves_no_run_folder(tiny_config, tmp_path):
    with pytest.raises(UserError, match="received 2 numbers for the 6 classes"):
        train(tiny_config("train.class_weights=[1,2]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("check", ["true", "false"])
def test_a_bad_file_stops_before_the_run_folder(check, tiny_config, tmp_path):
    root = tmp_path / "source"
    shutil.copytree(tiny_config().data.root, root)
    for name in ("train_00000", "train_00001"):
        (root / "train" / "labels" / f"{name}.png").write_bytes(b"cut")
    config = tiny_config(
        f"data.root={root}", f"data.records={tmp_path / 'new'}", f"data.check={check}"
    )
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    # The check finds both; conversion stops at the first.
    named = [f"train_0000{index}.png" in str(error.value) for index in (0, 1)]
    assert sum(named) == (2 if check == "true" else 1)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("new/*/manifest.json"))
