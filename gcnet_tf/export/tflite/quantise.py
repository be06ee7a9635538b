"""Quantisation of a TFLite file to 8 bits, by LiteRT's own quantiser."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.export.tflite.graph import in_integers, with_fitting_biases
from gcnet_tf.models.inference_graph import INPUT
from gcnet_tf.processor import num_cores

# The quantiser looks for a signature of this name.
SIGNATURE = "serving_default"
# All tensors of a context block have it in their names.
_CONTEXT = ".*/context.*"
# Above it the quantiser takes a tensor by parts of its own.
_MOST_BYTES = 32 * 2**20


def quantised(
    model: bytes, precision: str, images: Iterable[np.ndarray], done: Callable[[], None]
) -> bytes:
    """Quantises a float32 file, with ranges from images.

    Weights have a scale for each output channel. The input is the bytes of an image:
    its range is 0 to 255, whatever the images hold, so that a program may ignore the
    scale.

    Args:
        model: the file, with the signature SIGNATURE.
        precision: "int8", in which the context and the resized logits stay float: the
            context's means over thousands of positions lose most in 8 bits, and in
            float they take no measurable time. "full_int8", in which nothing does.
        images: uint8 `(height, width, 3)` each.
        done: called after each image.

    Raises:
        UserError: when a bias does not fit, or a network in "full_int8" has an
            operation without a form in 8 bits.
    """
    quantiser = _quantiser(model, precision)
    ranges = None
    with warnings.catch_warnings(), large_kernels():
        # Its interpreters keep all tensors, which "is for debugging only".
        warnings.simplefilter("ignore", UserWarning)
        for image in images:
            inputs = {INPUT: image[np.newaxis].astype(np.float32)}
            # One by one: of an iterator, it would first count the images.
            ranges = quantiser.calibrate({SIGNATURE: [inputs]}, ranges, num_cores())
            done()
        assert ranges is not None
        low, high = (np.full((1, 1, 1, 1), value, np.float32) for value in (0, 255))
        ranges[_input_tensor(model)] = {"min": low, "max": high}
        # A bias beyond 32 bits would turn into another number, with a warning only.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            fitting = _quantiser(with_fitting_biases(model, ranges), precision)
            answer = fitting.quantize(ranges, enable_progress_report=False)
        except RuntimeWarning as warning:
            raise UserError(
                f"{precision}: received a network with a bias that exceeds 32 bits in "
                "steps of its weights and inputs, which are nearly zero there; "
                "allowed is a trained network, or --precision dynamic."
            ) from warning
    result = bytes(answer.quantized_model)
    return in_integers(result) if precision == "full_int8" else result


def _quantiser(model: bytes, precision: str) -> Any:
    """Returns LiteRT's quantiser of a file, told what becomes 8 bits."""
    from litert_quantizer import qtyping, quantizer

    operation, dtype = qtyping.TFLOperationName, qtyping.TensorDataType
    quantiser = quantizer.Quantizer(model)
    change = quantiser.update_quantization_recipe
    change(".*", operation.ALL_SUPPORTED, _in_8_bits(dtype.INT))
    change(".*", operation.INPUT, _in_8_bits(dtype.UINT))
    if precision == "int8":
        float_algorithm = quantizer.AlgorithmName.NO_QUANTIZE
        for names, kind in (
            (_CONTEXT, operation.ALL_SUPPORTED),
            (".*", operation.RESIZE_BILINEAR),
            (".*", operation.OUTPUT),
        ):
            change(names, kind, algorithm_key=float_algorithm)
    return quantiser


@contextmanager
def large_kernels() -> Iterator[None]:
    """Has the quantiser take large kernels by parts of their output channels.

    litert-quantizer 0.11 spreads a kernel's scales over the wrong axis as soon as it
    has more than 32 MiB, and fails; 2048 to 512 channels in the head of an R50 do.
    """
    from litert_quantizer.algorithms.uniform_quantize import (
        uniform_quantize_tensor as module,
    )

    whole = module.uniform_quantize

    def by_parts(values: np.ndarray, parameters: Any, *others: Any) -> np.ndarray:
        if values.nbytes <= _MOST_BYTES or parameters.quantized_dimension != 0:
            return whole(values, parameters, *others)
        number = -(-values.nbytes // _MOST_BYTES)
        arrays = (values, parameters.scale, parameters.zero_point)
        parts = zip(*(np.array_split(array, number) for array in arrays))
        return np.concatenate(
            [
                whole(part, replace(parameters, scale=scale, zero_point=zero), *others)
                for part, scale, zero in parts
            ]
        )

    module.uniform_quantize = by_parts
    try:
        yield
    finally:
        module.uniform_quantize = whole


def _input_tensor(model: bytes) -> str:
    """Returns the name of the tensor that the only input has."""
    from ai_edge_litert.tools import flatbuffer_utils

    (graph,) = flatbuffer_utils.read_model_from_bytearray(model).subgraphs
    return graph.tensors[graph.inputs[0]].name.decode()


def _in_8_bits(dtype: Any) -> Any:
    """Describes operations with weights and activations in 8 bits."""
    from litert_quantizer import qtyping

    return qtyping.OpQuantizationConfig(
        activation_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8, symmetric=False, dtype=dtype
        ),
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=8,
            symmetric=True,
            granularity=qtyping.QuantGranularity.CHANNELWISE,
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )
