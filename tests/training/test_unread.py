"""Losses stay on the device until they are due, and none is overlooked."""

import keras
import pytest
from training.runs import records

from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.training.keras_objects import sees_iterations
from gcnet_tf.training.step import make_train_step
from gcnet_tf.weights.files import list_checkpoints

pytestmark = pytest.mark.usefixtures("toy_network")
RARE = ("train.evaluate_every=90", "train.checkpoint_every=90", "train.iterations=7")


class OnDevice:
    """A loss whose reading is recorded, with the number of steps until then."""

    def __init__(self, value, number, calls, read):
        self.value, self.number, self.calls, self.read = value, number, calls, read

    def __float__(self):
        self.read.append((self.number, len(self.calls)))
        return float(self.value)


@pytest.fixture
def steps(monkeypatch):
    """Records which loss is read after which step; makes losses NaN in `spoilt`."""
    calls, read, spoilt = [], [], set()

    def make(*arguments):
        step = make_train_step(*arguments)

        def recorded(batch):
            number = len(calls)
            calls.append(number)
            value = step(batch)["decode_loss"]
            value = float("nan") if number in spoilt else value
            return {"decode_loss": OnDevice(value, number, calls, read)}

        return recorded

    monkeypatch.setattr("gcnet_tf.training.loop.make_train_step", make)
    return read, spoilt


def test_losses_are_read_when_they_are_logged(steps, tiny_config, tmp_path):
    run = train(tiny_config(*RARE, "train.log_every=3"), tmp_path / "run")
    read, _ = steps
    assert read == [(0, 3), (1, 3), (2, 3), (3, 6), (4, 6), (5, 6), (6, 7)]
    assert [line["iteration"] for line in records(run, "train")] == [3, 6, 7]


def test_checkpoints_and_evaluations_read_first(steps, tiny_config, tmp_path):
    settings = ("train.log_every=90", "train.checkpoint_every=2")
    config = tiny_config(*RARE, *settings, "train.evaluate_every=5")
    train(config, tmp_path / "run")
    assert [after for _, after in steps[0]] == [2, 2, 4, 4, 5, 6, 7]


def test_a_callback_of_each_iteration_gets_its_loss(steps, tiny_config, tmp_path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, logs["loss"]))

    config = tiny_config(*RARE, "train.log_every=90")
    run = train(config, tmp_path / "run", callbacks=[Watch()])
    assert steps[0] == [(number, number + 1) for number in range(7)]
    assert [batch for batch, _ in seen] == list(range(7))
    mean = sum(loss for _, loss in seen) / 7
    assert records(run, "train")[0]["loss"] == pytest.approx(mean)


@pytest.mark.parametrize("due", ["log_every", "checkpoint_every", "evaluate_every"])
def test_a_loss_that_is_not_finite_is_named_exactly(due, steps, tiny_config, tmp_path):
    steps[1].add(4)
    config = tiny_config(*RARE, "train.log_every=90", f"train.{due}=3")
    with pytest.raises(UserError, match="nan.* not finite at iteration 4; samples: "):
        train(config, tmp_path / "run")
    saved = [checkpoint.name for checkpoint in list_checkpoints(tmp_path / "run")]
    assert saved == ([] if due == "log_every" else ["00000003"])


def test_an_error_elsewhere_saves_no_loss_that_is_not_finite(
    steps, tiny_config, tmp_path
):
    class Fail(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 6:
                raise RuntimeError("elsewhere")

    steps[1].add(4)
    config = tiny_config(*RARE, "train.log_every=90")
    with pytest.raises(UserError, match="not finite at iteration 4"):
        train(config, tmp_path / "run", callbacks=[Fail()])
    assert list_checkpoints(tmp_path / "run") == []


class OfBatch(keras.callbacks.Callback):
    def on_batch_end(self, batch, logs=None):
        """Is what `on_train_batch_end` calls."""


@pytest.mark.parametrize(
    "callback, expected",
    [
        (OfBatch(), True),
        (keras.callbacks.TerminateOnNaN(), True),
        (keras.callbacks.ModelCheckpoint("x.keras", save_freq=3), True),
        (keras.callbacks.ModelCheckpoint("x.keras"), False),
        (keras.callbacks.EarlyStopping("loss"), False),
        (keras.callbacks.CSVLogger("x.csv"), False),
    ],
)
def test_which_callbacks_see_each_iteration(callback, expected):
    assert sees_iterations(callback) == expected
