"""Trainings that end early: signals, errors, early stopping.

A toy replaces the network, which is not the subject.
"""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from training.runs import Do, records, stop

from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.metrics import Metrics
from gcnet_tf.training import Interrupted, train
from gcnet_tf.training.optimization.losses import make_loss
from gcnet_tf.weights.files import checkpoint_state, list_checkpoints

pytestmark = pytest.mark.usefixtures("toy_network")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_tells_the_iteration(sent, tiny_config, tmp_path):
    callback = Do(1, lambda model: os.kill(os.getpid(), sent))
    before = signal.getsignal(sent)
    with pytest.raises(Interrupted, match="iteration 1") as error:
        train(tiny_config(), tmp_path / "run", callbacks=[callback])
    assert error.value.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent]
    assert list_checkpoints(tmp_path / "run")[-1].name == "00000001"
    assert signal.getsignal(sent) == before


class Calls(keras.callbacks.Callback):
    """Records the calls about epochs and the training, in order."""

    def on_train_begin(self, logs=None):
        self.calls = ["begin"]

    def on_train_end(self, logs=None):
        self.calls.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"begin {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"end {epoch}")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_callbacks_learn_of_the_end_after_a_signal(sent, tiny_config, tmp_path):
    calls = Calls()
    kill = Do(3, lambda model: os.kill(os.getpid(), sent))
    with pytest.raises(Interrupted):
        train(tiny_config(), tmp_path / "run", callbacks=[kill, calls])
    assert calls.calls == ["begin", "begin 0", "end 0", "begin 1", "end"]


@pytest.mark.parametrize("iterations", [4, 3])
def test_epochs_of_a_run_that_begins_with_an_evaluation(
    iterations, tiny_config, tmp_path, monkeypatch
):
    config = tiny_config(f"train.iterations={iterations}")

    def fail(predictor, config, split, **options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("gcnet_tf.training.validation.evaluate", fail)
        with pytest.raises(MemoryError):
            train(config, tmp_path / "run")
    calls = Calls()
    train(config, tmp_path / "run", resume=True, callbacks=[calls])
    epochs = ["begin 0", "end 0", "begin 1", "end 1"]
    assert calls.calls == ["begin", *epochs, "end"]


def check_names_samples(error, config):
    """Checks that an error names the samples of the batch of its iteration."""
    names = error.split("samples: ")[1].split(".")[0].split(", ")
    images = Path(config.data.root) / "train" / "images"
    assert len(names) == 2
    assert all((images / f"{name}.png").is_file() for name in names)
    iteration = int(re.search("at iteration ([0-9]+)", error)[1])
    batch = next(iter(training_dataset(config, iteration)))
    assert names == [name.decode() for name in batch["name"].numpy()]


def test_samples_that_came_out_of_turn_may_be_others(tiny_config, tmp_path):
    config = tiny_config("train.learning_rate=1e30", "data.deterministic=false")
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    assert ", or some of the batches beside it (data.deter" in str(error.value)


def test_a_loss_that_is_not_finite_stops_with_the_samples(tiny_config, tmp_path):
    rare = ("train.evaluate_every=9", "train.checkpoint_every=9", "train.iterations=9")
    config = tiny_config("train.learning_rate=1e30", *rare)
    with pytest.raises(UserError) as error:
        train(config, tmp_path / "run")
    text = str(error.value)
    assert "The loss (decode_loss nan" in text
    check_names_samples(text, config)


def test_weights_that_are_not_finite_are_never_saved(
    tiny_config, tmp_path, monkeypatch
):
    def with_loss(config, weights):
        plain = make_loss(config, weights)
        # The squares underflow: the value of the root is 0, and its gradient is not
        # finite. (TensorFlow 2.15 computes logits * 0 as 0, with the gradient 0.)
        return lambda logits, labels: (
            plain(logits, labels) + tf.sqrt(tf.reduce_sum(tf.square(logits * 1e-30)))
        )

    monkeypatch.setattr("gcnet_tf.training.loop.make_loss", with_loss)
    config = tiny_config("train.checkpoint_every=1")
    with pytest.raises(UserError, match="gradient .* not finite at iteration 0") as e:
        train(config, tmp_path / "run")
    assert list_checkpoints(tmp_path / "run") == []
    check_names_samples(str(e.value), config)


def test_out_of_memory_names_the_settings_to_lower(tiny_config, tmp_path, monkeypatch):
    def exhausted(*arguments):
        def step(batch):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

        return step

    monkeypatch.setattr("gcnet_tf.training.loop.make_train_step", exhausted)
    with pytest.raises(UserError, match="Lower train.batch_size or augment.crop_size"):
        train(tiny_config(), tmp_path / "run")


def test_a_resumed_run_does_not_need_its_start(tiny_config, tmp_path):
    run = tmp_path / "run"
    train(tiny_config("train.iterations=2"), run)
    gone = f"model.backbone.pretrained={tmp_path}/gone.pth"
    train(tiny_config("train.iterations=2", gone), run, resume=True)
    assert f"Loaded {run}" in (run / "train.log").read_text()


def script_mious(monkeypatch, mious):
    """Makes the evaluations return these mIoUs, one after the other."""
    remaining = iter(mious)

    def evaluate(predictor, config, split, **options):
        miou = next(remaining)
        return Metrics(np.zeros(6), np.zeros(6), miou, miou, miou)

    monkeypatch.setattr("gcnet_tf.training.validation.evaluate", evaluate)


def test_early_stopping_is_at_the_same_place_after_a_resume(
    tiny_config, tmp_path, monkeypatch
):
    script_mious(monkeypatch, [0.5, 0.4, 0.6, 0.6, 0.1, 0.7])
    config = tiny_config(
        "train.early_stopping=2", "train.evaluate_every=1", "train.iterations=6"
    )
    run = tmp_path / "run"

    def last_state():
        return checkpoint_state(list_checkpoints(run)[-1])

    # The evaluation at 4 is not better than that at 3; equal does not count.
    train(config, run, callbacks=[Do(4, stop)])
    assert "Stopped early" not in (run / "train.log").read_text()
    assert last_state()["evaluations_since_best"] == 1
    train(config, run, resume=True)
    assert [r["iteration"] for r in records(run, "val")] == [1, 2, 3, 4, 5]
    text = (run / "train.log").read_text()
    assert "Stopped early at iteration 5: no better mIoU in 2 evaluations." in text
    assert last_state()["iteration"] == 5
    assert json.loads((run / "best.json").read_text())["iteration"] == 3

    train(config, run, resume=True)  # a run that has stopped stays stopped
    assert last_state()["iteration"] == 5
    more = tiny_config("train.evaluate_every=1", "train.iterations=6")
    train(more, run, resume=True)  # as the message advises
    state = last_state()
    assert (state["iteration"], state["best_miou"]) == (6, 0.7)
    assert state["evaluations_since_best"] == 0


def test_best_weights_survive_a_resume_from_before_them(
    tiny_config, tmp_path, monkeypatch
):
    script_mious(monkeypatch, [0.2, 0.5, 0.1, 0.3])
    run = tmp_path / "run"
    config = tiny_config("train.evaluate_every=1", "train.iterations=2")
    train(config, run)
    shutil.rmtree(list_checkpoints(run)[-1])
    before = (run / "best.weights.h5").read_bytes()
    train(config, run, resume=True)  # forgets the 0.5, and comes to 0.1
    assert json.loads((run / "best.json").read_text())["mIoU"] == 0.5
    assert (run / "best.weights.h5").read_bytes() == before


def test_a_run_that_ends_has_not_stopped_early(tiny_config, tmp_path, monkeypatch):
    script_mious(monkeypatch, [0.5, 0.4])
    train(tiny_config("train.early_stopping=1"), tmp_path / "run")
    assert "Stopped early" not in (tmp_path / "run" / "train.log").read_text()


def test_state_of_an_older_version_can_be_resumed(tiny_config, tmp_path, monkeypatch):
    script_mious(monkeypatch, [0.5])
    config = tiny_config("train.early_stopping=1", "train.iterations=1")
    run = tmp_path / "run"
    train(config, run)
    path = list_checkpoints(run)[-1] / "state.json"
    path.write_text(json.dumps({"iteration": 1, "best_miou": 0.5}))
    train(config, run, resume=True)
    assert "Resuming" in (run / "train.log").read_text()
