import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.errors import UserError
from gcnet_tf.export import export_saved_model
from gcnet_tf.manifest import read_manifest
from gcnet_tf.models import build_model
from gcnet_tf.predictor import load_predictor, predictor_from_model

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def exported(tiny_config, tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = build_model(tiny_config())
    kernel = model.decode_head.classifier.kernel
    kernel.assign(RNG.normal(size=kernel.shape))
    folder = tmp_path_factory.mktemp("export") / "model"
    difference = export_saved_model(model, tiny_config(), folder)
    return model, folder, difference


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (3, 33, 47, 3)])
def test_takes_uint8_batches_of_any_size(exported, shape):
    model, folder, _ = exported
    images = RNG.integers(0, 256, shape, np.uint8)
    outputs = tf.saved_model.load(str(folder)).signatures["serving_default"](
        images=tf.constant(images)
    )
    expected = tf.nn.softmax(model(images)["logits"]).numpy()
    assert sorted(outputs) == ["labels", "probabilities"]
    assert outputs["labels"].dtype == tf.uint8
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    found = outputs["probabilities"].numpy().argmax(-1)
    np.testing.assert_array_equal(outputs["labels"], found)


def test_reports_the_difference_it_measured(exported):
    assert 0 < exported[2] < 1e-5


def test_holds_constants_and_not_variables(exported):
    loaded = tf.saved_model.load(str(exported[1]))
    assert not list(loaded.signatures["serving_default"].variables)


def test_says_what_it_is(exported):
    manifest = read_manifest(exported[1])
    assert manifest.classes[0] == "background" and len(manifest.palette) == 6
    assert manifest.format == "saved_model"
    config = json.loads((exported[1] / "config.json").read_text())
    assert config["data"]["dataset"] == "shapes"


def test_predicts_as_the_model_does(exported, tiny_config):
    image = RNG.integers(0, 256, (30, 44, 3), np.uint8)
    expected = predictor_from_model(exported[0], tiny_config()).labels(image)
    found = load_predictor(None, None, str(exported[1]), []).labels(image)
    assert (found == expected).mean() > 0.99


def test_replaces_an_earlier_export_and_nothing_else(exported, tiny_config, tmp_path):
    model, folder, _ = exported
    export_saved_model(model, tiny_config(), folder)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not an earlier export"):
        export_saved_model(model, tiny_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_broken_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="not an export manifest"):
        read_manifest(tmp_path)
