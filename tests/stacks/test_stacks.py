"""Files of one stack are read by the other one; `make test-addons` runs these tests."""

import os
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from worker import IMAGES, randomised

from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.models import build_model
from gcnet_tf.training import train
from gcnet_tf.weights.files import (
    WEIGHTS_FILE,
    list_checkpoints,
    load_weights,
    save_weights,
    weights_by_path,
)

OTHER = os.environ.get("GCNET_TF_OTHER_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        OTHER is None,
        reason="needs both stacks: make test-addons names the other one's Python in "
        "GCNET_TF_OTHER_PYTHON",
    ),
]
# Settings of ResNets at their defaults, because MobileNets do not have them.
MOBILE = ("model.backbone.depth=50", "model.backbone.base_channels=64")
MODELS = [
    ("model.backbone.depth=18",),
    ("model.backbone.depth=50", 'model.head.context.fusions=["channel_mul"]'),
    ("model.backbone.architecture=resnet_vd", "model.backbone.depth=50"),
    ("model.backbone.frozen_stages=2", "model.head.context.pooling=avg"),
    ("model.head.context.block=nl", "model.head.context.sub_sample=true"),
    (
        "model.backbone.depth=50",
        'model.backbone.context={"block": "gc", "stages": [3, 4]}',
        "model.head.context.block=none",
    ),
    (*MOBILE, "model.backbone.architecture=mobilenet_v2", "model.head.separable=true"),
    (*MOBILE, "model.backbone.architecture=mobilenet_v3_large"),
    ("train.precision=float64",),
    ("train.precision=mixed_bfloat16",),
]


def other_stack(command_name, config, folder):
    """Runs a command of worker.py on the other stack."""
    (folder / "config.json").write_text(format_json(config_to_dict(config)))
    root = Path(__file__).parents[2]
    command = [
        OTHER,
        str(Path(__file__).with_name("worker.py")),
        command_name,
        str(folder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def assert_same(logits, expected, config):
    """Compares logits to the tolerance of the configuration's precision."""
    tolerance = {"float64": 1e-12, "mixed_bfloat16": 0.05}
    largest = np.abs(expected).max()
    atol = tolerance.get(config.train.precision, 1e-5) * largest
    assert largest > 0.1 and np.ptp(expected) > 10 * atol
    np.testing.assert_allclose(logits, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("settings", MODELS)
def test_weights_of_the_other_stack_are_read(settings, tiny_config, tmp_path):
    config = tiny_config(*settings)
    other_stack("save", config, tmp_path)
    model = build_model(config)
    load_weights(model, tmp_path / WEIGHTS_FILE)
    for path, weight in weights_by_path(randomised(config)).items():
        loaded = weights_by_path(model)[path]
        np.testing.assert_array_equal(loaded.numpy(), weight.numpy(), err_msg=path)
    logits = model(IMAGES)["logits"].numpy()
    assert_same(logits, np.load(tmp_path / "logits.npy"), config)


@pytest.mark.parametrize("settings", MODELS)
def test_the_other_stack_reads_our_weights(settings, tiny_config, tmp_path):
    config = tiny_config(*settings)
    model = randomised(config)
    save_weights(model, tmp_path / WEIGHTS_FILE)
    other_stack("load", config, tmp_path)
    logits = np.load(tmp_path / "logits.npy")
    assert_same(logits, model(IMAGES)["logits"].numpy(), config)


class StopAfterTwo(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = batch == 1


def test_a_run_that_changes_stacks_equals_one_that_stays(tiny_config, tmp_path):
    """Trains in float64, from given weights because drawn ones differ by stack."""
    start = tmp_path / WEIGHTS_FILE
    config = tiny_config("train.precision=float64", f"train.init_from={start}")
    save_weights(randomised(config), start)
    runs = tmp_path / "straight", tmp_path / "run"
    train(config, runs[0])
    train(config, runs[1], callbacks=[StopAfterTwo()])
    assert list_checkpoints(runs[1])[-1].name == "00000002"
    other_stack("resume", config, tmp_path)
    states = []
    for run in runs:
        assert list_checkpoints(run)[-1].name == "00000004"
        model = build_model(config)
        load_weights(model, list_checkpoints(run)[-1] / WEIGHTS_FILE)
        states.append(weights_by_path(model))
    for path, weight in states[0].items():
        changed = states[1][path].numpy()
        np.testing.assert_allclose(changed, weight.numpy(), atol=1e-9, err_msg=path)


def test_a_run_of_another_optimiser_cannot_change_stacks(tiny_config, tmp_path):
    adam = 'train.optimizer={"class_name": "Adam", "config": {}}'
    config = tiny_config(adam, "train.iterations=2")
    train(config, tmp_path / "run")
    with pytest.raises(subprocess.CalledProcessError) as raised:
        other_stack("resume", config, tmp_path)
    assert "UserError: Cannot resume from" in raised.value.stderr
    assert "train.init_from=" in raised.value.stderr
