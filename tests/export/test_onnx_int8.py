"""ONNX files in 8 bits: what they hold, and their logits in two runtimes."""

import logging

import numpy as np
import onnx
import onnx.reference
import onnx.version_converter
import pytest
from onnx import numpy_helper
from test_onnx import build, operations, with_onnxruntime, with_openvino

from gcnet_tf.errors import UserError
from gcnet_tf.export.calibration import calibration_images
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.runtime import open_network
from gcnet_tf.runtime.manifest import read_manifest

SIZE = (33, 47)


@pytest.fixture(scope="module")
def model(tiny_config):
    return build(tiny_config())


@pytest.fixture(scope="module")
def exported(model, tiny_config, tmp_path_factory):
    """The file for any size."""
    folder = tmp_path_factory.mktemp("onnx_int8")
    (path,) = export_onnx(
        model, tiny_config(), folder, precision="int8", values="logits"
    )
    return path


@pytest.fixture(scope="module")
def images(model, tiny_config):
    return calibration_images(model, tiny_config(), SIZE)[:2]


def assert_close(logits, model, images):
    """Only the mean: the largest error is that of a clipped value in drawn networks."""
    expected = model(images)["logits"].numpy()
    assert np.abs(logits - expected).mean() < 0.03 * np.abs(expected).max()
    assert len(np.unique(expected.argmax(-1))) > 1
    assert (logits.argmax(-1) == expected.argmax(-1)).mean() > 0.9


@pytest.mark.parametrize("runtime", [with_onnxruntime, with_openvino])
def test_any_size_and_batch(runtime, exported, model, images):
    run = runtime(exported)
    for inputs in (images, images[:1, :, :32]):
        outputs = run(inputs)
        assert_close(outputs["logits"], model, inputs)
        assert outputs["labels"].dtype == np.uint8
        np.testing.assert_array_equal(outputs["labels"], outputs["logits"].argmax(-1))


@pytest.mark.parametrize("runtime", [with_onnxruntime, with_openvino])
def test_channels_first_of_one_size(runtime, model, images, tiny_config, tmp_path):
    (path,) = export_onnx(
        model,
        tiny_config(),
        tmp_path,
        precision="int8",
        size=SIZE,
        layout="nchw",
        values="logits",
    )
    outputs = runtime(path)(images.transpose(0, 3, 1, 2).astype(np.float32))
    assert_close(outputs["logits"].transpose(0, 2, 3, 1), model, images)
    network, _ = open_network(path)
    assert_close(network.logits(images), model, images)


@pytest.mark.skipif(
    tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 19),
    reason="the evaluator of onnx 1.18 pads convolutions by negative numbers",
)
def test_onnxruntime_computes_what_the_file_says(exported, images):
    # The evaluator in NumPy that comes with the format, which knows these operations
    # from version 19 of the operators on.
    proto = onnx.version_converter.convert_version(onnx.load(exported), 19)
    names = [output.name for output in proto.graph.output]
    for inputs in (images, images[:1, :, :32]):
        outputs = onnx.reference.ReferenceEvaluator(proto).run(None, {"images": inputs})
        logits = dict(zip(names, outputs))["logits"]
        actual = with_onnxruntime(exported)(inputs)["logits"]
        np.testing.assert_allclose(actual, logits, atol=1e-4 * np.abs(logits).max())


def initializers(graph):
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def test_convolutions_have_weights_of_8_bits_with_a_scale_for_each_channel(exported):
    graph = onnx.load(exported).graph
    constants = initializers(graph)
    makers = {name: node for node in graph.node for name in node.output}
    num_float = 0
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        if node.input[1] in constants:
            num_float += 1
            assert "/context" in node.name or "/classifier" in node.name
            continue
        source, weights = (makers[name] for name in node.input[:2])
        assert source.op_type == weights.op_type == "DequantizeLinear"
        kernel, scale = (constants[name] for name in weights.input[:2])
        assert kernel.dtype == np.int8 and scale.shape == kernel.shape[:1]
        assert constants[source.input[2]].dtype == np.uint8
        # The sum of two products must fit into 16 bits: processors without VNNI clip
        # it there, and give other labels without an error. See also
        # test_int8_without_vnni.
        assert 2 * 255 * np.abs(kernel.astype(int)).max() <= np.iinfo(np.int16).max
    assert num_float == 4  # three in the context, and the classifier


def test_the_context_and_the_classes_stay_float(exported):
    nodes = onnx.load(exported).graph.node
    names = [node.input[0] for node in nodes if node.op_type == "QuantizeLinear"]
    assert not [name for name in names if "/classifier" in name]
    # Of the context, only what a convolution takes: features and context added.
    (added,) = [name for name in names if "/context" in name]
    assert added.split(":")[0].endswith("/add")
    assert operations(exported)["Resize"] == 1


def test_the_file_describes_itself(exported):
    manifest = read_manifest(exported)
    assert (manifest.format, manifest.precision) == ("onnx", "int8")
    assert "onnxruntime" in manifest.versions
    entries = {entry.key for entry in onnx.load(exported).metadata_props}
    assert entries == {"classes", "protocol", "usage"}
    assert logging.root.manager.disable == logging.NOTSET


def test_without_records_it_is_refused(model, tiny_config, tmp_path):
    config = tiny_config(f"data.records={tmp_path / 'none'}")
    with pytest.raises(UserError, match="no records of the split 'train'"):
        export_onnx(model, config, tmp_path / "out", precision="int8")
    assert not list((tmp_path / "out").iterdir())
