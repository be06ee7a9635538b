"""Evaluations during a training: their devices."""

import pytest

from gcnet_tf.training import train, validation

pytestmark = pytest.mark.usefixtures("toy_network")


@pytest.mark.parametrize(
    "setting, expected",
    [
        ("train.logical_cpus=2", ["CPU:0", "CPU:1"]),
        ("train.strategy=one_device", ["CPU:0"]),
    ],
)
def test_the_devices_that_train_evaluate(
    setting, expected, tiny_config, tmp_path, monkeypatch
):
    used = []
    make_predictor = validation.predictor_from_model

    def noting(*arguments, devices, **options):
        used.append([name.rpartition("device:")[2] for name in devices])
        return make_predictor(*arguments, devices=devices, **options)

    monkeypatch.setattr(validation, "predictor_from_model", noting)
    train(tiny_config(setting), tmp_path / "run")
    assert used == [expected, expected]
