"""Files of a MobileNet for phones: its folded form, TFLite in 8 bits, and ONNX."""

from collections import Counter

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from helpers import draw_weights
from worker_here import run_worker

from benchmarks.infer import mobile
from benchmarks.workers import Worker
from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.export.calibration import calibration_images
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.export.tflite.graph import operations
from gcnet_tf.models import build_model
from gcnet_tf.models.inference_graph import fold
from gcnet_tf.runtime import open_network
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)
SIZE = (32, 48)


@pytest.fixture(scope="module")
def config(tiny_config):
    # base_channels returns to its default: these networks lack the setting.
    return tiny_config(
        "model.backbone.architecture=mobilenet_v3_small",
        "model.backbone.depth=50",
        "model.backbone.base_channels=64",
        "model.backbone.width=0.25",
        "model.head.separable=true",
    )


@pytest.fixture(scope="module")
def model(config):
    keras.utils.set_random_seed(0)
    model = build_model(config)
    draw_weights(model, np.random.default_rng(0))
    return model


def test_folding_keeps_the_logits(model):
    images = RNG.integers(0, 256, (2, 33, 41, 3), np.uint8)
    expected = model(images)["logits"].numpy()
    folded = fold(model)
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(folded(images)["logits"], expected, atol=tolerance)
    assert not any("/norm/moving" in path for path in weights_by_path(folded))


@pytest.mark.parametrize("size", [SIZE, None])
def test_onnx(model, config, tmp_path, size):
    (path,) = export_onnx(model, config, tmp_path, size=size)
    images = RNG.integers(0, 256, (1, *(size or (33, 41)), 3), np.uint8)
    network, _ = open_network(path)
    expected = model(images)["logits"].numpy()
    # The file gives logarithms of probabilities: logits up to a constant per pixel.
    actual = network.logits(images)
    difference = (actual - expected) - (actual - expected).mean(-1, keepdims=True)
    assert np.abs(difference).max() < 1e-4
    # Where tf2onnx fails to merge them, one stays on each side of a convolution.
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert counts["Transpose"] <= 2 < counts["Conv"]
    # Dilations are those of the convolutions, whose biases and activations follow.
    assert not counts["SpaceToDepth"] and not counts["Pad"]


def test_onnx_int8(model, config, tmp_path):
    (path,) = export_onnx(model, config, tmp_path, precision="int8", size=SIZE)
    inputs = calibration_images(model, config, SIZE)[:1]
    network, _ = open_network(path)
    expected = model(inputs)["logits"].numpy()
    actual = network.logits(inputs)
    difference = (actual - expected) - (actual - expected).mean(-1, keepdims=True)
    assert np.abs(difference).max() < 0.15 * np.ptp(expected)


@pytest.mark.parametrize("precision", ["int8", "full_int8"])
def test_a_filter_that_has_died(model, config, precision, tmp_path, monkeypatch):
    """Its bias exceeds 32 bits in steps of its weights, and would be another number."""
    monkeypatch.setattr(tflite, "_run_worker", run_worker)
    dead = build_model(config)
    dead.set_weights(model.get_weights())
    for path, weight in weights_by_path(dead).items():
        if path.endswith(("expand/conv/kernel", "depthwise/conv/kernel")):
            kernel = weight.numpy()
            kernel[..., ::3] *= 1e-20
            weight.assign(kernel)
    path, _ = export_tflite(dead, config, tmp_path, precision=precision, size=SIZE)
    inputs = calibration_images(dead, config, SIZE)
    expected = dead(inputs)["logits"].numpy()
    network, _ = open_network(path)
    actual = np.concatenate([network.logits(image[None]) for image in inputs])
    difference = (actual - expected) - (actual - expected).mean(-1, keepdims=True)
    assert np.abs(difference).mean() < 0.01 * np.ptp(expected)


@pytest.fixture(scope="module")
def int8_file(config, tmp_path_factory):
    """A file as `benchmark.py mobile` makes it."""
    folder = tmp_path_factory.mktemp("mobile")
    (folder / "tiny.json").write_text(format_json(config_to_dict(config)))
    out = folder / "work" / "exports"
    out.parent.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "_run_worker", run_worker)
        mobile._export([str(folder / "tiny.json")], [out], SIZE, lambda: None)
    return out / "model_int8_labels.tflite"


def test_int8_files_hold_what_xnnpack_computes(int8_file):
    flat = flatbuffer_utils.read_model(str(int8_file))
    counts = Counter(name for name, _ in operations(flat))
    assert counts["DEPTHWISE_CONV_2D"] == 11 + 3
    # XNNPACK leaves this operation to slower kernels in 8 bits.
    assert "HARD_SWISH" not in counts
    assert max(len(tensor.shape) for tensor in flat.subgraphs[0].tensors) == 4


def test_int8_files_run(int8_file):
    interpreter = Interpreter(str(int8_file))
    interpreter.allocate_tensors()
    images = RNG.integers(0, 256, (1, *SIZE, 3), np.uint8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    labels = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert labels.shape == (1, *SIZE) and labels.dtype == np.uint8


def test_the_benchmark_measures_it(int8_file):
    candidate = mobile._candidate("tiny", int8_file, SIZE, threads=1)
    with Worker(candidate.command) as worker:
        assert worker.measure("run", 0).images == 1
