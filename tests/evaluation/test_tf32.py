"""TF32 on GPUs: the setting, in every way to a model, and the line about it."""

import re

import pytest
import tensorflow as tf
from exported_files import write_saved_model

from gcnet_tf.compat import tf32_text, use_tf32
from gcnet_tf.evaluation.load import load_model, load_predictor
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import save_weights

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(autouse=True)
def as_before():
    yield
    use_tf32(True)


def is_on():
    return tf.config.experimental.tensor_float_32_execution_enabled()


def test_training_and_weights_of_a_run(tiny_config, tmp_path):
    model = build_model(tiny_config("train.tf32=false"))
    assert not is_on()
    build_model(tiny_config())  # a later run of the same process
    assert is_on()
    save_weights(model, tmp_path / "model.weights.h5")
    weights = str(tmp_path / "model.weights.h5")
    settings = ["model.backbone.base_channels=4", "model.head.channels=8"]
    settings += ["model.auxiliary.channels=8", "train.tf32=false"]
    load_model("shapes_r18", weights, None, settings)
    assert not is_on()


def test_a_keras_file(tiny_config, tmp_path):
    path = tmp_path / "model.keras"
    build_model(tiny_config()).save(path)
    load_model("shapes_r18", None, str(path), ["train.tf32=false"])
    assert not is_on()


def test_a_saved_model(tmp_path):
    path = str(write_saved_model(tmp_path))
    load_predictor(None, None, path, ["train.tf32=false"])
    assert not is_on()
    load_predictor(None, None, path, [])
    assert is_on()


@pytest.mark.parametrize(
    "gpus, on, text",
    [
        ([], True, ""),
        ([{"compute_capability": (7, 5)}], True, ""),
        ([{}], True, ""),  # not NVIDIA's
        ([{}, {"compute_capability": (8, 0)}], True, "TF32 is on: .*train.tf32=false"),
        ([{"compute_capability": (9, 0)}], False, "TF32 is off: "),
    ],
)
def test_the_log_says_it_where_a_gpu_has_it(monkeypatch, gpus, on, text):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", dict)
    use_tf32(on)
    assert re.match(text or "$", tf32_text())
