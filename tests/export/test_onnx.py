"""ONNX files run in their runtimes at any size, and give the logits of Keras."""

import json
import logging
import sys
from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorflow as tf

from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.export.onnx import OPSET, export_onnx
from gcnet_tf.models import build_model
from gcnet_tf.runtime.backends import open_backend
from gcnet_tf.runtime.manifest import read_manifest
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)
# 97 is no multiple of its 13 features in float32.
SHAPES = [(1, 64, 64, 3), (2, 65, 97, 3), (3, 33, 40, 3)]


def build(config):
    """Builds a model that predicts several classes, with an effective context block."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(2)  # the same model whichever tests ran before
    model = build_model(config)
    for path, weight in weights_by_path(model).items():
        if path.endswith(("expand/kernel", "classifier/kernel", "gamma")):
            weight.assign(rng.normal(0, 1, weight.shape))
    return model


@pytest.fixture(scope="module")
def model(tiny_config):
    return build(tiny_config())


@pytest.fixture(scope="module")
def dynamic(model, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    (path,) = export_onnx(model, tiny_config(), folder, values="logits")
    return path


def with_onnxruntime(path):
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images})))


def with_openvino(path):
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: {
        name: value.copy()
        for output, value in model({"images": images}).items()
        for name in output.get_names()
    }


RUNTIMES = pytest.mark.parametrize("runtime", [with_onnxruntime, with_openvino])


def check(outputs, model, images):
    logits = model(images)["logits"].numpy()
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-3, rtol=0)
    assert np.ptp(logits) > 1 and len(np.unique(logits.argmax(-1))) > 1
    assert outputs["labels"].dtype == np.uint8
    # The class is the same wherever two logits differ by more than rounding.
    second, first = np.moveaxis(np.sort(logits, axis=-1)[..., -2:], -1, 0)
    clear = first - second > 2e-3
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(outputs["labels"][clear], logits.argmax(-1)[clear])


@RUNTIMES
def test_any_size_and_batch_in_one_session(runtime, dynamic, model):
    run = runtime(dynamic)
    for shape in SHAPES:
        images = RNG.integers(0, 256, shape, np.uint8)
        check(run(images), model, images)


@RUNTIMES
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("size", [(65, 97), None])
def test_layouts_of_one_odd_size_and_any_batch(
    runtime, layout, size, model, tiny_config, tmp_path, capfd
):
    (path,) = export_onnx(
        model, tiny_config(), tmp_path, size=size, layout=layout, values="logits"
    )
    run = runtime(path)
    for batch in (1, 3):
        images = RNG.integers(0, 256, (batch, 65, 97, 3), np.uint8)
        inputs = images
        if layout == "nchw":
            inputs = images.transpose(0, 3, 1, 2).astype(np.float32)
        outputs = run(inputs)
        if layout == "nchw":
            outputs["logits"] = outputs["logits"].transpose(0, 2, 3, 1)
        check(outputs, model, images)
    if size is None:
        return
    # No shape is left to compute at run time, and none was inferred wrongly.
    assert "Shape" not in operations(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("size", [(65, 97), None])
def test_the_graph_holds_nothing_that_tensorrt_excludes(
    layout, size, model, tiny_config, tmp_path
):
    """TensorRT casts uint8 from floats only, and gives uint8 images to casts only."""
    (path,) = export_onnx(model, tiny_config(), tmp_path, size=size, layout=layout)
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    described = [*graph.value_info, *graph.input, *graph.output]
    types = {tensor.name: tensor.type.tensor_type.elem_type for tensor in described}
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.UINT8:
            assert types[node.input[0]] == onnx.TensorProto.FLOAT
        elif onnx.TensorProto.UINT8 in map(types.get, node.input):
            assert node.op_type == "Cast"


def test_the_file_alone_says_what_to_do_with_a_photo(dynamic, tiny_config):
    entries = {entry.key: entry.value for entry in onnx.load(dynamic).metadata_props}
    assert sorted(entries) == ["classes", "protocol", "usage"]
    names = json.loads(entries["classes"])
    assert names == list(facts_of(tiny_config().data).classes)
    manifest = read_manifest(dynamic)
    assert json.loads(entries["protocol"]) == manifest.protocol
    long, short = sorted(manifest.protocol["scale"], reverse=True)
    assert entries["usage"] == manifest.usage
    assert "photos as they come get wrong labels" in manifest.usage
    assert f"longer and shorter sides are at most {long} and {short}" in manifest.usage
    session = onnxruntime.InferenceSession(str(dynamic))
    assert session.get_modelmeta().custom_metadata_map == entries


def test_labels_alone(dynamic):
    session = onnxruntime.InferenceSession(str(dynamic))
    images = RNG.integers(0, 256, (1, 40, 50, 3), np.uint8)
    (labels,) = session.run(["labels"], {"images": images})
    assert (labels.dtype, labels.shape) == (np.uint8, (1, 40, 50))


@pytest.mark.parametrize(
    "setting",
    [
        "model.align_corners=true",
        "model.head.context.pooling=avg",
        'model.head.context.fusions=["channel_mul", "channel_add"]',
    ],
)
def test_other_networks(setting, tiny_config, tmp_path):
    config = tiny_config(setting)
    model = build(config)
    (path,) = export_onnx(model, config, tmp_path, values="logits")
    images = RNG.integers(0, 256, (2, 33, 49, 3), np.uint8)
    check(with_onnxruntime(path)(images), model, images)


def operations(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_graph_has_no_slow_operations(dynamic, model):
    # The input is only cast: nothing transposes the uint8 pixels.
    nodes = onnx.load(dynamic).graph.node
    first = {node.op_type for node in nodes if "images" in node.input}
    assert first == {"Cast"}
    counts = operations(dynamic)
    # One before the first convolution, and one after the last.
    assert counts["Transpose"] == 2
    # Convolutions include their padding; only the pooling's is an operation.
    assert counts["Pad"] == 1 and not counts["BatchNormalization"]
    kernels = [path for path in weights_by_path(model) if path.endswith("kernel")]
    assert counts["Conv"] == sum("auxiliary" not in path for path in kernels)


def test_manifest_and_names_describe_the_file(dynamic):
    file = onnx.load(dynamic)
    assert [opset.version for opset in file.opset_import if not opset.domain] == [OPSET]
    sides = [side.dim_param for side in file.graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", "height", "width", ""]
    manifest = read_manifest(dynamic)
    assert (manifest.format, manifest.size, manifest.batch) == ("onnx", None, None)
    assert manifest.versions["opset"] == str(OPSET)
    assert sorted(manifest.outputs) == ["labels", "logits"]


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_our_runtime_takes_it(layout, model, tiny_config, tmp_path):
    (path,) = export_onnx(model, tiny_config(), tmp_path, size=(33, 40), layout=layout)
    images = RNG.integers(0, 256, (2, 33, 40, 3), np.uint8)
    outputs = open_backend(path, read_manifest(path)).run(images)
    expected = tf.nn.softmax(model(images)["logits"])
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_warnings_are_shown_again_afterwards(dynamic):
    assert dynamic.is_file() and logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize("package", ["onnx", "tf2onnx"])
def test_a_missing_package(package, model, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=f"needs the package {package},.*pip install {package}"
    ):
        export_onnx(model, tiny_config(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_layout(model, tiny_config, tmp_path):
    with pytest.raises(ValueError, match="Received: chwn"):
        export_onnx(model, tiny_config(), tmp_path, layout="chwn")
