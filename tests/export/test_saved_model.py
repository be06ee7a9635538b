import math
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.manifest import manifest_path, read_manifest
from gcnet_tf.weights.files import weights_hash

pytestmark = pytest.mark.usefixtures("shallow")

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(tiny_config):
    keras.utils.set_random_seed(0)
    model = build_model(tiny_config())
    kernel = model.decode_head.classifier.kernel
    kernel.assign(RNG.normal(size=kernel.shape))
    return model


@pytest.fixture(scope="module")
def exported(model, tiny_config, tmp_path_factory):
    (path,) = export_saved_model(model, tiny_config(), tmp_path_factory.mktemp("a"))
    return path


def signature(path, name="network"):
    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures[name]
    function.owner = loaded  # the signature is valid only while its owner exists
    return function


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (3, 33, 47, 3)])
def test_takes_uint8_batches_of_any_size(exported, model, shape):
    images = RNG.integers(0, 256, shape, np.uint8)
    outputs = signature(exported)(images=tf.constant(images))
    expected = tf.nn.softmax(model(images)["logits"]).numpy()
    assert sorted(outputs) == ["labels", "probabilities"]
    assert outputs["labels"].dtype == tf.uint8
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    expected_labels = outputs["probabilities"].numpy().argmax(-1)
    np.testing.assert_array_equal(outputs["labels"], expected_labels)


def test_weights_are_there_once_and_not_in_the_graph(exported, model):
    """TensorFlow copies what is in the graph at every step, twenty times in all."""
    graph = signature(exported).graph.as_graph_def()
    constants = [
        node.attr["value"].tensor.ByteSize()
        for function in graph.library.function
        for node in function.node_def
        if node.op == "Const"
    ]
    assert max(constants) < 4096
    folded = sum(4 * math.prod(v.shape) for v in signature(exported).variables)
    (data,) = exported.glob("variables/variables.data*")
    assert folded <= data.stat().st_size < 1.1 * folded
    # Smaller than the model, which has a second head and normalisation.
    assert folded < sum(4 * math.prod(v.shape) for v in model.weights)


def test_one_size_and_logits_on_request(model, tiny_config, tmp_path):
    (path,) = export_saved_model(
        model, tiny_config(), tmp_path, size=(32, 48), values="logits"
    )
    serve = signature(path)
    assert serve.structured_input_signature[1]["images"].shape == [None, 32, 48, 3]
    images = RNG.integers(0, 256, (2, 32, 48, 3), np.uint8)
    logits = serve(images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, model(images)["logits"], atol=1e-4)


def test_bfloat16_is_half_the_size_and_nearly_the_same(
    exported, model, tiny_config, tmp_path
):
    (path,) = export_saved_model(model, tiny_config(), tmp_path, precision="bf16")
    assert path.name == "saved_model_bf16"
    images = RNG.integers(0, 256, (2, 33, 47, 3), np.uint8)
    expected = tf.nn.softmax(model(images)["logits"]).numpy()
    actual = signature(path)(images=tf.constant(images))["probabilities"].numpy()
    difference = np.abs(actual - expected).max()
    assert 1e-5 < difference < 0.05

    def size(folder):
        (data,) = folder.glob("variables/variables.data*")
        return data.stat().st_size

    assert size(path) < 0.7 * size(exported)


def test_for_processors_large_convolutions_are_winograds(tiny_config, tmp_path):
    """The probabilities stay the same. The head has one of 256 to 256 channels."""
    config = tiny_config("model.head.channels=256")
    wide = build_model(config)
    (path,) = export_saved_model(wide, config, tmp_path, target="cpu-fp32")
    assert path.name == "saved_model_fp32_cpu"
    assert read_manifest(path).target == "cpu-fp32"
    serve = signature(path)
    functions = serve.graph.as_graph_def().library.function
    kinds = [node.op for function in functions for node in function.node_def]
    assert kinds.count("MatMul") >= 36
    images = RNG.integers(0, 256, (2, 33, 47, 3), np.uint8)
    expected = tf.nn.softmax(wide(images)["logits"]).numpy()
    actual = serve(images=tf.constant(images))["probabilities"]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_manifest_describes_the_file(exported, model):
    manifest = read_manifest(exported)
    assert manifest.classes[0] == "background" and len(manifest.palette) == 6
    assert (manifest.format, manifest.precision) == ("saved_model", "fp32")
    assert manifest.target == "portable"
    assert manifest.size is None and manifest.batch is None
    assert sorted(manifest.outputs) == ["labels", "probabilities"]
    assert manifest.config["data"]["dataset"] == "shapes"
    assert manifest.protocol["mode"] == "whole"
    assert manifest.protocol["align_corners"] is False
    assert manifest.weights_sha256 == weights_hash(model)
    assert manifest.versions["tensorflow"] == tf.__version__
    assert "serving_encoded and serving_png take photos of any size" in manifest.usage


def test_a_changed_file_is_noticed(model, tiny_config, tmp_path):
    (path,) = export_saved_model(model, tiny_config(), tmp_path)
    graph = path / "saved_model.pb"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    with pytest.raises(UserError, match="belongs to another file"):
        read_manifest(path)


def test_replaces_an_earlier_export_and_nothing_else(model, tiny_config, tmp_path):
    (path,) = export_saved_model(model, tiny_config(), tmp_path)
    assert export_saved_model(model, tiny_config(), tmp_path) == [path]
    read_manifest(path)
    manifest_path(path).unlink()
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not an earlier export"):
        export_saved_model(model, tiny_config(), tmp_path)
    assert (path / "thesis.txt").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_files_of_others_in_the_folder_stay(model, tiny_config, tmp_path):
    """TensorFlow Serving reads assets.extra, and macOS writes .DS_Store anywhere."""
    (path,) = export_saved_model(model, tiny_config(), tmp_path)
    before = Predictor(path).labels(RNG.integers(0, 256, (32, 32, 3), np.uint8))
    others = {
        "assets.extra/tf_serving_warmup_requests": "requests",
        ".DS_Store": "finder",
        "variables/.DS_Store": "finder",
        "assets/.DS_Store": "finder",
    }
    for name, text in others.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    assert Predictor(path).labels(np.zeros((32, 32, 3), np.uint8)).shape == before.shape
    export_saved_model(model, tiny_config(), tmp_path)
    for name, text in others.items():
        assert (path / name).read_text() == text
    read_manifest(path)


@pytest.mark.parametrize("name", ["assets/words.txt", "variables/variables.index"])
def test_all_parts_of_the_model_count(exported, tmp_path, name):
    path = tmp_path / "model"
    shutil.copytree(exported, path)
    (path / name).write_text("other")
    with pytest.raises(UserError, match="belongs to another file"):
        read_manifest(path)


def test_a_missing_or_broken_manifest_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no manifest"):
        read_manifest(tmp_path)
    for text in ("{}", "not JSON", '{"classes": 3}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UserError, match="not an export manifest"):
            read_manifest(tmp_path)


def test_a_float16_configuration_is_exported_in_float32(tiny_config, tmp_path):
    config = tiny_config("train.precision=mixed_bfloat16")
    (path,) = export_saved_model(build_model(config), config, tmp_path)
    images = np.zeros((1, 32, 32, 3), np.uint8)
    outputs = signature(path)(images=tf.constant(images))
    assert outputs["probabilities"].dtype == tf.float32
    assert load_config("shapes_r18").train.precision == "float32"
