"""Whole trainings with objects that a configuration names, with a toy network."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from training.runs import Do, records, stop

from gcnet_tf import compat
from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.training.keras_objects import NamedMetrics
from gcnet_tf.training.optimization.schedules import PolynomialDecay
from gcnet_tf.weights.files import list_checkpoints

keras_3 = pytest.mark.skipif(compat.MAY_HAVE_ADDONS, reason="Keras 2.15 lacks it")
pytestmark = pytest.mark.usefixtures("toy_network")


def setting(class_name, **config):
    return json.dumps({"class_name": class_name, "config": config})


def optimizer_values(run):
    with np.load(list_checkpoints(run)[-1] / "optimizer.npz") as arrays:
        return dict(arrays)


def test_what_happens_in_some_steps_only_resumes_between_them(tiny_config, tmp_path):
    options = {"use_ema": True, "ema_overwrite_frequency": 3}
    if compat.KERAS_3:
        options["gradient_accumulation_steps"] = 3
    config = tiny_config(
        f"train.optimizer={setting('AdamW', global_clipnorm=0.1, **options)}",
        "train.logical_cpus=2",
        "train.iterations=6",
    )
    train(config, tmp_path / "whole")
    train(config, tmp_path / "resumed", callbacks=[Do(4, stop)])
    train(config, tmp_path / "resumed", resume=True)
    whole, resumed = (
        optimizer_values(tmp_path / name) for name in ("whole", "resumed")
    )
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], name)


class Metric(keras.metrics.Metric):
    """Fails with class ids."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        raise IndexError("no such axis")

    def result(self):
        return 0.0


MONITORED = {"monitor": "val_mIoU", "mode": "max"}


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("ReduceLROnPlateau", MONITORED, "sets the learning rate, which follows train"),
        ("BackupAndRestore", {"backup_dir": "backup"}, "as --resume does"),
        pytest.param(
            "SwapEMAWeights", {}, "best.weights.h5 use the ave", marks=keras_3
        ),
        ("EarlyStopping", {"monitor": "val_mIoU"}, 'mode: "max" or "min"'),
        ("EarlyStopping", {}, "monitor='val_loss'; allowed: loss, .*, val_mIoU"),
        (
            "ModelCheckpoint",
            {"filepath": "x.keras", "save_best_only": True, "monitor": "val_mIoU"},
            'mode: "max" or "min"',
        ),
    ],
)
def test_callbacks_that_would_fail_after_hours_are_refused(
    name, options, message, tiny_config, tmp_path
):
    config = tiny_config(f"train.callbacks=[{setting(name, **options)}]")
    with pytest.raises(UserError, match=rf"train.callbacks\[0\]: {name} .*{message}"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_callbacks_of_the_caller_are_checked_as_well(tiny_config, tmp_path):
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    stopping = keras.callbacks.EarlyStopping(monitor="val_acc", mode="max")
    for callback, message in (
        (schedule, "sets the learning rate"),
        (stopping, "val_acc"),
    ):
        with pytest.raises(UserError, match=message):
            train(tiny_config(), tmp_path / "run", callbacks=[callback])


def test_a_metric_that_fails_is_refused(tiny_config, tmp_path):
    registered = keras.saving.register_keras_serializable("runs")(Metric)
    name = keras.saving.get_registered_name(registered)
    config = tiny_config(f"train.metrics=[{setting(name)}]")
    with pytest.raises(UserError, match=r"metrics\[0\]: Metric fails .*no such axis"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_metrics_have_the_same_names_in_every_training(tiny_config):
    named = ", ".join(
        setting("MeanIoU", num_classes=6, **more)
        for more in ({}, {}, {"name": "mine_7"}, {"ignore_class": 0})
    )
    config = tiny_config(f"train.metrics=[{named}]")
    for _ in range(2):
        names = list(NamedMetrics(config).results())
        assert names == ["mean_io_u", "mean_io_u_1", "mine_7", "mean_io_u_2"]


def test_callbacks_of_keras_find_what_they_need(tiny_config, tmp_path):
    """They get the optimiser, and weights files stay as they are without it."""
    path = str(tmp_path / "mine.weights.h5")
    best = {"save_best_only": True, "save_weights_only": True, **MONITORED}
    callbacks = [
        setting("TensorBoard", log_dir=str(tmp_path / "board"), write_graph=False),
        setting("CSVLogger", filename=str(tmp_path / "log.csv")),
        setting("EarlyStopping", restore_best_weights=True, patience=9, **MONITORED),
        setting("ModelCheckpoint", filepath=path, **best),
        setting("TerminateOnNaN"),
    ]
    config = tiny_config(f"train.callbacks=[{', '.join(callbacks)}]")
    rates = []
    read = Do(2, lambda model: rates.append(model.optimizer.learning_rate.numpy()))
    run = train(config, tmp_path / "run", callbacks=[read])
    lr = config.train.learning_rate, config.train.min_learning_rate
    # That of the next step; in Keras 2.15, of the last one, in float32.
    step = 2 if compat.KERAS_3 else 1
    expected = float(PolynomialDecay(*lr, 4, 0.9)(step))
    assert rates == pytest.approx([expected], rel=1e-6)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert list((tmp_path / "board").rglob("*tfevents*")) and Path(path).is_file()
    for file in [run / "best.weights.h5", *run.rglob("model.weights.h5")]:
        with h5py.File(file) as groups:
            assert "optimizer" not in groups
    # They can be left out when the run goes on.
    train(tiny_config(), run, resume=True)


def test_the_log_has_the_rate_of_each_step_when_some_are_skipped(
    tiny_config, tmp_path, monkeypatch
):
    """A loss scale that is too high: gradients overflow until it has been halved."""
    with_loss_scale = {
        True: lambda optimizer: keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=2.0**127
        ),
        False: lambda optimizer: keras.mixed_precision.LossScaleOptimizer(
            optimizer, initial_scale=2.0**127
        ),
    }[compat.KERAS_3]
    monkeypatch.setattr("gcnet_tf.compat.with_loss_scale", with_loss_scale)
    config = tiny_config(
        "train.precision=mixed_float16",
        "train.class_weights=[30,30,30,30,30,30]",
        "train.iterations=8",
        "train.evaluate_every=8",
    )
    kernels = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            kernels.append(self.model.decode_head.kernel.numpy())

        def on_train_batch_end(self, batch, logs=None):
            kernels.append(self.model.decode_head.kernel.numpy())

    run = train(config, tmp_path / "run", callbacks=[Watch()])
    moved = [not np.array_equal(*pair) for pair in zip(kernels, kernels[1:])]
    assert not moved[0] and moved[-1]
    counts = np.cumsum([0, *moved[:-1]]) if compat.KERAS_3 else np.arange(8)
    lr = config.train.learning_rate, config.train.min_learning_rate
    schedule = PolynomialDecay(*lr, 8, config.train.poly_power)
    rates = [record["learning_rate"] for record in records(run, "train")]
    assert rates == pytest.approx([float(schedule(count)) for count in counts])
