"""Quantisation of an ONNX model to 8 bits, by ONNX Runtime's own tool."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

# Operations in 8 bits: convolutions, and what lies between them. Any other between two
# convolutions would go to float and back.
_QUANTISED = ("Conv", "Relu", "Clip", "Add", "Mul", "MaxPool", "Pad", "Concat")
# Parts of the names of layers that stay float. Of the context, means over thousands of
# positions and a layer normalisation lose most in 8 bits; the classes are decided by
# the classifier. Together they are under a thousandth of the arithmetic.
_FLOAT = ("/context", "/classifier")


def quantised(proto: Any, images: np.ndarray) -> Any:
    """Quantises a float32 ONNX model, with ranges from images.

    Weights are int8, symmetric, with a scale for each output channel; activations are
    uint8. Pairs of QuantizeLinear and DequantizeLinear (QDQ) say so, from which each
    runtime makes its own integer operations.

    Weights have 7 bits, -64 to 64. Processors without VNNI add two products of a uint8
    and an int8 in 16 bits, and clip the sum without an error: 2 x 255 x 127 exceeds
    32,767, and 2 x 255 x 64 does not. So one file gives the same everywhere. Depthwise
    convolutions, whose kernels add in 32 bits, have all 8, which they need: on CamVid,
    a MobileNetV2 lost 0.025 mIoU to 7 bits, and 0.003 to these.

    Args:
        proto: the model, with a single input.
        images: inputs of it, in their layout `(number, …)`.

    Returns:
        The quantised model, without metadata.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    (source,) = proto.graph.input
    proto = _with_biases_corrected(proto, images)
    # Each node by its own name, which the tool goes by.
    names = [node.name for node in proto.graph.node]
    with TemporaryDirectory(prefix="gcnet_tf-") as folder, quiet():
        out = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            out,
            _Reader(source.name, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[name for name in names if _stays_float(name)],
            extra_options={
                "TensorQuantOverrides": {
                    node.input[1]: [{"axis": 0, "reduce_range": False}]
                    for node in _convolutions(proto)
                    if _is_depthwise(node)
                }
            },
        )
        result = onnx.load(out)
    del result.metadata_props[:]  # notes of the tool to itself
    onnx.checker.check_model(result, full_check=True)
    return result


def _convolutions(proto: Any) -> list[Any]:
    """Returns the nodes of the convolutions that become 8-bit ones."""
    constants = {item.name for item in proto.graph.initializer}
    return [
        node
        for node in proto.graph.node
        if node.op_type == "Conv"
        and len(node.input) == 3
        and constants.issuperset(node.input[1:])
        and not _stays_float(node.name)
    ]


def _is_depthwise(node: Any) -> bool:
    return any(item.name == "group" and item.i > 1 for item in node.attribute)


def _stays_float(name: str) -> bool:
    return any(part in name for part in _FLOAT)


def _with_biases_corrected(proto: Any, images: Iterable[np.ndarray]) -> Any:
    """Moves each bias by what the rounding of its weights adds on average.

    The errors of a filter's weights do not cancel where its inputs are all positive,
    as they are after a ReLU: Nagel et al., "Data-free quantization through weight
    equalization and bias correction", arXiv 1906.04721, section 4.2.
    """
    from onnx import numpy_helper

    result = type(proto)()
    result.CopyFrom(proto)
    constants = {
        item.name: numpy_helper.to_array(item) for item in proto.graph.initializer
    }
    convolutions = _convolutions(result)
    means = _means(proto, [node.input[0] for node in convolutions], images)
    for node in convolutions:
        source, kernel, bias = node.input
        # (filters, channels of a group)
        errors = _rounding_errors(constants[kernel], _is_depthwise(node)).sum((2, 3))
        mean = means[source]
        added = errors[:, 0] * mean if _is_depthwise(node) else errors @ mean
        # Of its own: the converter lets equal biases be one constant.
        node.input[2] = f"{node.name}/corrected_bias"
        corrected = (constants[bias] + added).astype(np.float32)
        result.graph.initializer.append(
            numpy_helper.from_array(corrected, node.input[2])
        )
    used = {name for node in result.graph.node for name in node.input}
    kept = [item for item in result.graph.initializer if item.name in used]
    del result.graph.initializer[:]
    result.graph.initializer.extend(kept)
    return result


def _rounding_errors(kernel: np.ndarray, is_depthwise: bool) -> np.ndarray:
    """Returns a kernel less what its 7 or 8 bits hold."""
    step = np.abs(kernel).max((1, 2, 3), keepdims=True) / (127 if is_depthwise else 64)
    step[step == 0] = 1  # a filter of zeros has no error
    return kernel - np.round(kernel / step) * step


def _means(
    proto: Any, names: Iterable[str], images: Iterable[np.ndarray]
) -> dict[str, np.ndarray]:
    """Computes the mean of each channel of some tensors over images."""
    import onnx
    from onnxruntime import InferenceSession

    extended = type(proto)()
    extended.CopyFrom(proto)
    (source,) = extended.graph.input
    names = sorted(set(names))
    outputs = [f"{name}/channel_means" for name in names]
    for name, output in zip(names, outputs):
        extended.graph.node.append(
            onnx.helper.make_node("ReduceMean", [name], [output], axes=[0, 2, 3])
        )
        extended.graph.output.append(
            onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        )
    session = InferenceSession(extended.SerializeToString())
    found = [session.run(outputs, {source.name: image[np.newaxis]}) for image in images]
    means = [np.mean(values, axis=0).reshape(-1) for values in zip(*found)]
    return dict(zip(names, means))


class _Reader:
    """Images as `onnxruntime.quantization.CalibrationDataReader` asks for them."""

    def __init__(self, name: str, images: Iterable[np.ndarray]):
        self._name = name
        self._images = iter(
            tqdm(images, "calibrate", unit="img", leave=False, disable=None)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the inputs of the next run; None at the end."""
        image = next(self._images, None)
        return None if image is None else {self._name: image[np.newaxis]}


@contextmanager
def quiet() -> Iterator[None]:
    """Hides warnings.

    tf2onnx calls deprecated functions of TensorFlow, and ONNX Runtime's tool advises a
    preparation that folds constants, which these graphs do not need.
    """
    level_before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level_before)
