import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import draw_weights

from gcnet_tf.layers import GlobalContextBlock
from gcnet_tf.models import Segmentor
from gcnet_tf.models import inference_graph as module
from gcnet_tf.models.inference_graph import fold, inference_function, inference_graph
from gcnet_tf.weights.files import weights_by_path

pytestmark = pytest.mark.usefixtures("shallow")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 33, 41, 3), np.uint8)


def trained(depth=18, dtype="float32", channels=8, winograd=False):
    """Makes a model whose weights and statistics are far from their initial values."""
    keras.utils.set_random_seed(0)
    model = Segmentor(
        4,
        backbone={"depth": depth, "base_channels": 4},
        head={
            "channels": channels,
            "context": {"fusions": ("channel_mul", "channel_add")},
        },
        auxiliary={"channels": 8},
        align_corners=True,
        winograd=winograd,
        dtype=dtype,
        name="gcnet",
    )
    model.build((None, None, None, 3))
    draw_weights(model, RNG)
    return model


@pytest.mark.parametrize("depth", [18, 50])
def test_folding_and_freezing_keep_the_logits(depth):
    model = trained(depth)
    expected = model(IMAGES)["logits"].numpy()
    tolerance = 1e-5 * np.abs(expected).max()
    folded = fold(model)
    np.testing.assert_allclose(folded(IMAGES)["logits"], expected, atol=tolerance)
    frozen = inference_function(model)
    np.testing.assert_allclose(frozen(IMAGES), expected, atol=tolerance)


def test_nothing_is_left_to_normalise_and_no_auxiliary_head():
    paths = list(weights_by_path(fold(trained())))
    assert not any("norm/moving" in path or "auxiliary" in path for path in paths)


@pytest.fixture(params=[0, 2**22], ids=["variables", "constants"])
def most_constants(request, monkeypatch):
    monkeypatch.setattr(module, "_MOST_CONSTANTS", request.param)
    return request.param


def test_a_function_keeps_its_weights(most_constants):
    """Two of the head's convolutions are Winograd's, one of them of two inputs."""
    model = trained(channels=512, winograd=True)
    expected = model(IMAGES)["logits"].numpy()
    frozen = inference_function(model)
    gc.collect()  # what the function does not keep is gone
    before = frozen(IMAGES).numpy()
    np.testing.assert_allclose(before, expected, atol=1e-5 * np.abs(expected).max())
    for weight in model.trainable_weights:
        weight.assign(weight + 1.0)
    np.testing.assert_array_equal(frozen(IMAGES), before)


def test_no_large_weight_is_copied_with_the_graph(monkeypatch):
    """Constants are: twenty times, where TensorFlow optimises the graph."""
    monkeypatch.setattr(module, "_MOST_CONSTANTS", 0)
    model = trained(channels=512, winograd=True)
    function = inference_function(model)

    @tf.function
    def nested(images):
        return function(images)

    graph = nested.get_concrete_function(tf.constant(IMAGES)).graph
    (call,) = [node for node in graph.get_operations() if "Call" in node.type]
    body = graph.as_graph_def().library.function
    nodes = [node for f in body for node in f.node_def if node.op == "Const"]
    assert call.inputs[1:] and nodes
    # The largest is the product of Winograd's two matrices.
    assert max(node.ByteSize() for node in nodes) < 4 * 36 * 36 + 1000


def test_a_mixed_precision_model_is_folded_in_float32():
    folded = fold(trained(dtype="mixed_bfloat16"))
    assert folded.compute_dtype == "float32"
    exact = trained()(IMAGES)["logits"].numpy()
    assert exact.shape == folded(IMAGES)["logits"].shape


def test_the_inference_form_holds_no_softmax_and_no_same_padding():
    """Softmax in int8 loses the context, and ONNX Runtime refuses dilated "SAME"."""
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8)
    graph = inference_graph(trained(50), spec, ["labels", "logits"]).graph
    operations = [node.type for node in graph.get_operations()]
    assert "Softmax" not in operations and "SpaceToBatchND" not in operations
    for node in graph.get_operations():
        if node.type == "Conv2D" and node.inputs[1].shape[0] > 1:
            assert node.get_attr("padding") == b"EXPLICIT"


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.05)])
def test_outputs_are_those_asked_for_in_alphabetical_order(dtype, tolerance):
    model = trained()
    spec = tf.TensorSpec([2, 33, 41, 3], tf.uint8)
    graph = inference_graph(model, spec, ["probabilities", "labels"], dtype)
    labels, probabilities = graph(tf.constant(IMAGES))
    expected = tf.nn.softmax(model(IMAGES)["logits"]).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)
    np.testing.assert_array_equal(labels, probabilities.numpy().argmax(-1))
    assert labels.dtype == tf.uint8


def test_pooling_by_means_is_attention_pooling():
    inputs = RNG.normal(0, 3, (2, 64, 64, 16)).astype(np.float32)
    plain, folded = GlobalContextBlock(0.25), GlobalContextBlock(0.25, folded=True)
    for block in (plain, folded):
        block.build(inputs.shape)
    for source, target in zip(plain.weights, folded.weights):
        source.assign(RNG.normal(0, 0.5, source.shape))
        target.assign(source)
    expected = plain._pool(inputs).numpy()
    assert np.abs(expected - inputs.mean(axis=(1, 2), keepdims=True)).max() > 0.5
    np.testing.assert_allclose(folded._pool(inputs), expected, rtol=1e-4, atol=1e-5)
