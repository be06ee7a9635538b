"""Whole trainings with objects that a configuration names, with a toy network."""

import json

import numpy as np
import pytest
from training.runs import Do, stop

from gcnet_tf import compat
from gcnet_tf.training import train
from gcnet_tf.weights.files import list_checkpoints

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
