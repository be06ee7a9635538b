"""Exports of models with each context block, in the head and in the backbone."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)
from worker_here import run_worker

from gcnet_tf.errors import UserError
from gcnet_tf.export.calibration import calibration_images
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.export.tflite.graph import operations
from gcnet_tf.layers import by_rows, make_context, non_local
from gcnet_tf.models import build_model
from gcnet_tf.runtime.backends import open_backend
from gcnet_tf.runtime.manifest import read_manifest
from gcnet_tf.weights.files import weights_by_path

pytestmark = pytest.mark.usefixtures("shallow")

SIZE = (65, 97)  # 9 x 13 features
HEAD = "model.head.context."
MODELS = {
    "se": [HEAD + "block=se", HEAD + "ratio=0.25"],
    "nl": [HEAD + "block=nl"],
    "concatenation, half": [
        *(HEAD + "block=nl", HEAD + "mode=concatenation", HEAD + "sub_sample=true")
    ],
    "in the backbone": [
        "model.backbone.depth=50",
        'model.backbone.context={"block": "gc", "stages": [2, 4], "ratio": 0.25}',
        HEAD + "block=snl",
    ],
}


@pytest.fixture(scope="module")
def models(tiny_config):
    """A function that returns the model and the configuration of a name."""
    built = {}

    def get(name):
        if name not in built:
            config = tiny_config(*MODELS[name])
            built[name] = build(config), config
        return built[name]

    return get


def build(config):
    """Builds a model whose context blocks have an effect."""
    keras.utils.set_random_seed(0)
    model = build_model(config)
    rng = np.random.default_rng(0)
    for path, weight in weights_by_path(model).items():
        if path.endswith("gamma"):
            weight.assign(rng.uniform(0.5, 1.0, weight.shape))
        elif "/context/" in path and path.endswith("kernel"):
            weight.assign(rng.normal(0, 0.5, weight.shape))
    kernel = model.decode_head.classifier.kernel
    kernel.assign(rng.normal(size=kernel.shape))
    return model


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """Computes an affinity of 117 positions fifty rows at a time."""
    num_bytes = 50 * 117 * 4 * by_rows._FORWARD_COPIES
    monkeypatch.setattr(by_rows, "AFFINITY_BYTES", num_bytes)


def images(*shape):
    return np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)


def assert_close(actual, model, inputs, tolerance=1e-4):
    expected = model(inputs)["logits"].numpy()
    difference = np.abs(actual - expected).max() / np.abs(expected).max()
    assert difference < tolerance


@pytest.mark.parametrize("name", MODELS)
def test_saved_model(models, name, tmp_path):
    model, config = models(name)
    (path,) = export_saved_model(model, config, tmp_path, values="logits")
    loaded = tf.saved_model.load(str(path))
    for shape in ((1, *SIZE), (2, 33, 49)):
        inputs = images(*shape)
        outputs = loaded.signatures["network"](images=tf.constant(inputs))
        assert_close(outputs["logits"], model, inputs)


@pytest.mark.parametrize(
    "name, size",
    [("nl", None), ("nl", SIZE), ("concatenation, half", None), ("se", None)],
)
def test_onnx(models, name, size, tmp_path):
    model, config = models(name)
    (path,) = export_onnx(model, config, tmp_path, size=size, values="logits")
    session = onnxruntime.InferenceSession(str(path))
    for shape in ((1, *SIZE), *([] if size else [(2, 33, 49)])):
        inputs = images(*shape)
        (logits,) = session.run(["logits"], {"images": inputs})
        assert_close(logits, model, inputs)


def test_int8(models, tmp_path, monkeypatch):
    """The image is one of those that set the ranges for 8 bits."""
    monkeypatch.setattr(tflite, "_run_worker", run_worker)
    model, config = models("concatenation, half")
    size = (33, 47)
    path, _ = export_tflite(model, config, tmp_path, precision="int8", size=size)
    inputs = calibration_images(model, config, size)[:1]
    assert_close(run_tflite(Interpreter(str(path)), inputs), model, inputs, 0.1)


def test_full_int8_refuses_an_attention(models, tmp_path, monkeypatch):
    """Shares of 117 positions would be less than a step of the softmax in 8 bits."""
    monkeypatch.setattr(tflite, "_run_worker", run_worker)
    model, config = models("nl")
    with pytest.raises(UserError, match="SOFTMAX.*--precision int8"):
        export_tflite(model, config, tmp_path, precision="full_int8", size=(33, 47))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["se", "in the backbone"])
def test_full_int8(models, name, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "_run_worker", run_worker)
    model, config = models(name)
    size = (33, 47)
    path, _ = export_tflite(model, config, tmp_path, precision="full_int8", size=size)
    inputs = calibration_images(model, config, size)[:1]
    logits = open_backend(path, read_manifest(path)).run(inputs)["logits"]
    assert_close(logits, model, inputs, 0.15)


@pytest.mark.parametrize(
    "name, size", [("nl", None), ("nl", SIZE), ("in the backbone", SIZE), ("se", None)]
)
def test_onnx_int8(models, name, size, tmp_path):
    model, config = models(name)
    (path,) = export_onnx(
        model, config, tmp_path, precision="int8", size=size, values="logits"
    )
    # At the size of the calibration: drawn features change with the size.
    inputs = calibration_images(model, config, size or config.augment.crop_size)[:1]
    logits = open_backend(path, read_manifest(path)).run(inputs)["logits"]
    assert_close(logits, model, inputs, 0.15)


def run_tflite(interpreter, inputs):
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    (result,) = interpreter.get_output_details()
    interpreter.set_tensor(source["index"], inputs.astype(source["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(result["index"])


@pytest.mark.parametrize(
    "block, settings",
    [
        ("gc", {}),
        ("gc", {"pooling": "avg", "transform": "bottleneck"}),
        ("snl", {}),
        ("se", {}),
        ("se_mmseg", {}),
        *(("nl", {"mode": mode}) for mode in non_local.MODES),
        ("nl", {"sub_sample": True}),
    ],
)
def test_blocks_become_operations_that_phones_have(block, settings):
    """Each block is converted alone, with 9 x 13 positions."""
    layer = make_context(block, **settings, folded=True)
    layer.build((None, None, None, 16))
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    x = rng.normal(size=(1, 9, 13, 16)).astype(np.float32)
    graph = convert_variables_to_constants_v2(
        tf.function(
            layer, input_signature=[tf.TensorSpec(x.shape)]
        ).get_concrete_function()
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converted = converter.convert()
    names = {
        name
        for name, _ in operations(
            flatbuffer_utils.convert_bytearray_to_object(bytearray(converted))
        )
    }
    assert not {"TRANSPOSE", "CUSTOM", "WHILE"} & names
    actual = run_tflite(Interpreter(model_content=converted), x)
    np.testing.assert_allclose(actual, layer(x), atol=1e-4)
    assert np.abs(actual - x).max() > 0.1
