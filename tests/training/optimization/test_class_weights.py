import dataclasses

import numpy as np
import pytest
from training.runs import records

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.records.manifest import Manifest, read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.training import train
from gcnet_tf.training.optimization.class_weights import (
    check_class_weights,
    class_weights,
    inverse_square_root,
)

MANIFEST = Manifest(
    dataset="folder",
    split="train",
    classes=("a", "b", "c", "d"),
    num_samples=1,
    class_histogram=(900, 100, 0, 25),
    num_ignored_pixels=5000,
    shards=(),
)


def config_with(weights):
    data = {"dataset": "folder", "classes": list(MANIFEST.classes)}
    return config_from_dict({"data": data, "train": {"class_weights": weights}})


def test_weights_are_inverse_square_roots_with_mean_one():
    weights = np.array(inverse_square_root(MANIFEST.class_histogram))
    # 1/30, 1/10 and 1/5, times the factor that makes 900, 100 and 25 pixels weigh 1025.
    factor = 1025 / (30 + 10 + 5)
    np.testing.assert_allclose(weights, np.array([1 / 30, 0.1, 0, 0.2]) * factor)
    assert weights @ MANIFEST.class_histogram == pytest.approx(1025)


def test_classes_that_are_equally_frequent_weigh_one():
    assert inverse_square_root((7, 7, 7)) == pytest.approx((1, 1, 1))


def test_auto_uses_the_manifest_and_lists_are_unchanged():
    auto = class_weights(config_with("auto"), MANIFEST)
    assert auto == inverse_square_root(MANIFEST.class_histogram)
    assert class_weights(config_with([1, 2, 3, 4]), MANIFEST) == (1, 2, 3, 4)
    assert class_weights(config_with(None), MANIFEST) is None


def test_auto_needs_labelled_pixels():
    manifest = dataclasses.replace(MANIFEST, class_histogram=(0, 0, 0, 0))
    with pytest.raises(UserError, match="no training pixel has a class"):
        class_weights(config_with("auto"), manifest)


def test_a_list_has_one_weight_per_class():
    for right in (None, "auto", [1, 1, 1, 1]):
        check_class_weights(config_with(right))
    with pytest.raises(UserError, match="received 3 numbers for the 4 classes a, b"):
        check_class_weights(config_with([1, 1, 1]))


def test_weights_hold_for_both_losses_and_automatic_ones_are_logged(
    tiny_config, toy_network, tmp_path
):
    first, logs = {}, {}
    for name, setting in {
        "plain": "null",
        "doubled": "[2,2,2,2,2,2]",
        "automatic": "auto",
    }.items():
        config = tiny_config(f"train.class_weights={setting}", "train.iterations=1")
        run = train(config, tmp_path / name)
        first[name] = records(run, "train")[0]
        logs[name] = (run / "train.log").read_text()
    for loss in ("decode_loss", "auxiliary_loss"):
        assert first["doubled"][loss] == pytest.approx(
            2 * first["plain"][loss], rel=1e-5
        )
    assert first["automatic"]["loss"] != pytest.approx(first["plain"]["loss"], rel=0.01)
    manifest = read_manifest(config.data.records, "train")
    weights = inverse_square_root(manifest.class_histogram)
    log = logs["automatic"]
    assert f"Class weights: background {weights[0]:.3g}, circle " in log
