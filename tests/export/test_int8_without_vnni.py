"""ONNX files in 8 bits on a processor without VNNI, which is emulated."""

import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from gcnet_tf.export import onnx_int8
from gcnet_tf.export.onnx_int8 import quantised

EMULATOR = shutil.which("qemu-x86_64")
CHANNELS, SIDE = 32, 12
# Without the site: a process of the emulator starts nothing of its own.
CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy, onnxruntime, openvino
path = sys.argv[2]
image = numpy.load(sys.argv[3])
there = onnxruntime.InferenceSession(path).run(None, {"images": image})[0]
also = openvino.Core().compile_model(path, "CPU")(image)[0]
numpy.save(sys.argv[4], numpy.stack([there, also]))
"""


def network():
    """A pointwise convolution and a dilated depthwise one, all weights 1."""
    shape = [1, CHANNELS, SIDE, SIDE]
    pads = {"pads": [2] * 4, "dilations": [2, 2], "group": CHANNELS}
    nodes = [
        helper.make_node("Conv", ["images", "points", "zeros"], ["a"], name="points"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "sides", "zeros"], ["c"], name="sides", **pads),
    ]
    constants = {
        "points": np.ones((CHANNELS, CHANNELS, 1, 1)) / CHANNELS,
        "sides": np.ones((CHANNELS, 1, 3, 3)) / 9,
        "zeros": np.zeros(CHANNELS),
    }
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in constants.items()
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


def emulated(proto, tmp_path):
    """Runs a file on white images, and returns what is in its middle, twice."""
    model, image, out = (tmp_path / name for name in ("m.onnx", "i.npy", "o.npy"))
    onnx.save(proto, model)
    np.save(image, np.full((1, CHANNELS, SIDE, SIDE), 255, np.float32))
    packages = sysconfig.get_path("purelib")
    command = [EMULATOR, "-cpu", "Haswell", sys.executable, "-c", CODE, packages]
    subprocess.run([*command, model, image, out], check=True, capture_output=True)
    return np.load(out)[:, 0, 0, SIDE // 2, SIDE // 2]


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="qemu-user is not installed")
def test_no_sum_is_clipped(tmp_path, monkeypatch):
    images = np.full((2, CHANNELS, SIDE, SIDE), 255, np.float32)
    white = emulated(quantised(network(), images), tmp_path)
    np.testing.assert_allclose(white, 255, rtol=0.01)
    # With all 8 bits in the first convolution, it is: the test above can fail.
    monkeypatch.setattr(onnx_int8, "_is_depthwise", lambda node: True)
    monkeypatch.setattr(
        onnx_int8, "_with_biases_corrected", lambda proto, images: proto
    )
    clipped = emulated(quantised(network(), images), tmp_path)
    assert (clipped < 0.6 * 255).all()


def test_rounded_weights_leave_the_mean_as_it_is():
    """One filter, whose weights all round down, on inputs of one sign."""
    proto = network()
    kernel = np.full((CHANNELS, CHANNELS, 1, 1), 1.4 / 64, np.float32)
    kernel[:, 0] = 1
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, "points"))
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (4, CHANNELS, SIDE, SIDE)).astype(np.float32)
    expected = 1.4 / 64 * images[:, 1:].sum(1) + images[:, 0]

    def mean_of(model):
        del model.graph.node[1:]
        model.graph.output[0].name = "a"
        session = InferenceSession(model.SerializeToString())
        return np.mean([session.run(None, {"images": image[None]}) for image in images])

    corrected = onnx_int8._with_biases_corrected(proto, images)
    # The constant that both convolutions had, of which runtimes would warn.
    assert "zeros" not in {item.name for item in corrected.graph.initializer}
    held = np.full_like(kernel, 1 / 64)
    held[:, 0] = 1
    corrected.graph.initializer[0].CopyFrom(numpy_helper.from_array(held, "points"))
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(held, "points"))
    np.testing.assert_allclose(mean_of(corrected), expected.mean(), rtol=1e-4)
    assert mean_of(proto) < 0.9 * expected.mean()
