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


def quantised(proto: Any, images: Iterable[np.ndarray]) -> Any:
    """Quantises a float32 ONNX model, with ranges from images.

    Weights are int8, symmetric, with a scale for each output channel; activations are
    uint8. Pairs of QuantizeLinear and DequantizeLinear (QDQ) say so, from which each
    runtime makes its own integer operations.

    Weights have 7 bits, -64 to 64. Processors without VNNI add two products of a uint8
    and an int8 in 16 bits, and clip the sum without an error: 2 x 255 x 127 exceeds
    32,767, and 2 x 255 x 64 does not. So one file gives the same everywhere.

    Args:
        proto: the model, with a single input.
        images: inputs of it, without the batch.

    Returns:
        The quantised model, without metadata.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    (source,) = proto.graph.input
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
            nodes_to_exclude=[
                name for name in names if any(part in name for part in _FLOAT)
            ],
        )
        result = onnx.load(out)
    del result.metadata_props[:]  # notes of the tool to itself
    onnx.checker.check_model(result, full_check=True)
    return result


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
