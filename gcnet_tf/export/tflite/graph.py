"""Checks of TFLite files, and the small changes that the converter cannot make.

A model is the object that `ai_edge_litert.tools.flatbuffer_utils` makes of a file.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from gcnet_tf.errors import UserError

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
# Operations that GPU delegates refuse and that nothing in the network needs.
_REFUSED = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TRANSPOSE", "CUSTOM"}
# Operations that lose the context in 8 bits.
_FLOAT_ONLY = {"EXP", "DIV", "SQUARED_DIFFERENCE", "RSQRT"}
# Operations that have a form in 8 bits, of which the quantiser does not know.
_ALSO_IN_8_BITS = {"ARG_MAX", "EXP", "REDUCE_MAX"}


def operations(model: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields the name of each operation with its output tensors."""
    (graph,) = model.subgraphs
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex]
        name = flatbuffer_utils.opcode_to_name(model, operation.opcodeIndex)
        if code.customCode is not None:
            name = "CUSTOM"
        yield name, [graph.tensors[index] for index in operation.outputs]


def keep_output(model: Any, name: str) -> None:
    """Removes all outputs except the one that the signature calls `name`."""
    (signature,) = model.signatureDefs
    signature.outputs = [o for o in signature.outputs if o.name.decode() == name]
    (graph,) = model.subgraphs
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    _drop_unused(model)


def in_integers(content: bytes) -> bytes:
    """Turns the last operations of a file in 8 bits that compute in float.

    The quantiser leaves them between a DEQUANTIZE and a QUANTIZE.

    Raises:
        UserError: when floats remain, or an attention, whose shares are too small for
            the 256 steps that a SOFTMAX has in 8 bits.
    """
    model = flatbuffer_utils.read_model_from_bytearray(content)
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    # The graph's own list names a tensor in float where an operation takes one, too.
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    names = [name for name, _ in operations(model)]
    named = list(zip(names, graph.operators))
    makers = {result: item for item in named for result in item[1].outputs}
    for name, operation in named:
        if name not in _ALSO_IN_8_BITS:
            continue
        before, maker = makers.get(operation.inputs[0], ("", operation))
        if before == "DEQUANTIZE":
            operation.inputs[0] = maker.inputs[0]
        for after, taker in named:
            if after == "QUANTIZE" and taker.inputs[0] == operation.outputs[0]:
                operation.outputs[0] = taker.outputs[0]
                graph.operators.remove(taker)
        source, result = (
            graph.tensors[side[0]] for side in (operation.inputs, operation.outputs)
        )
        if name == "REDUCE_MAX":  # it picks values, and has no other scale for them
            result.quantization = copy.deepcopy(source.quantization)
        code = model.operatorCodes[operation.opcodeIndex]
        code.version = max(code.version, 2)  # the first with 8 bits
    _drop_unused(model)
    floats = {
        name
        for name, outputs in operations(model)
        if any(tensor.type == schema.TensorType.FLOAT32 for tensor in outputs)
    }
    if refused := sorted(floats | ({"SOFTMAX"} & set(names))):
        raise UserError(
            f"full_int8: received a network with {', '.join(refused)}, which "
            "8 bits cannot hold; allowed are context blocks without a softmax of "
            "their own, such as gc and se. Export it with --precision int8, which "
            "computes the context in float."
        )
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _drop_unused(model: Any) -> None:
    """Removes operations and tensors that no output needs."""
    (graph,) = model.subgraphs
    _keep_needed(graph)
    used = sorted(
        {*graph.inputs, *graph.outputs}.union(
            *([*item.inputs, *item.outputs] for item in graph.operators)
        )
        - {-1}  # an input that is left out
    )
    numbers = {old: new for new, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    for item in [graph, *graph.operators]:
        item.inputs = [numbers[index] for index in item.inputs]
        item.outputs = [numbers[index] for index in item.outputs]
    for signature in model.signatureDefs:
        for tensor in [*signature.inputs, *signature.outputs]:
            tensor.tensorIndex = numbers[tensor.tensorIndex]


def _keep_needed(graph: Any) -> None:
    """Removes operations that no output needs, from the last one on."""
    needed = set(graph.outputs)
    kept = []
    for operation in reversed(graph.operators):
        if needed & set(operation.outputs):
            needed |= set(operation.inputs)
            kept.append(operation)
    graph.operators = kept[::-1]


def with_fitting_biases(content: bytes, ranges: Mapping[str, Any]) -> bytes:
    """Raises a weight of each filter whose bias would exceed 32 bits.

    A bias is counted in steps of its filter's weights times those of its inputs. In
    filters that a training has let die, weights are 1e-20 and the bias is all there is.
    One weight of each becomes so large that the bias fits: what it adds is at most 3e-5
    of the bias, a hundredth of what a step of the output is.

    Args:
        content: a file in float32.
        ranges: "min" and "max" of the tensors that become 8 bits, by their names.
    """
    model = flatbuffer_utils.read_model_from_bytearray(content)
    (graph,) = model.subgraphs
    for (name, _), operation in zip(operations(model), graph.operators):
        if name not in _CONVOLUTIONS or -1 in operation.inputs:
            continue
        source, kernel, bias = (graph.tensors[index] for index in operation.inputs)
        found = ranges.get(source.name.decode())
        if found is None:
            continue  # it stays float
        span = max(np.max(found["max"]), 0) - min(np.min(found["min"]), 0)
        if span == 0:
            continue
        filters_first = 0 if name == "CONV_2D" else 3
        weights = _values(model, kernel).reshape(kernel.shape).copy()
        rows = np.moveaxis(weights, filters_first, 0)
        least = 127 * np.abs(_values(model, bias)) / (2**30 * span / 255)
        largest = np.abs(rows).max((1, 2, 3))
        for number in np.flatnonzero(largest < least):
            place = np.unravel_index(np.abs(rows[number]).argmax(), rows[number].shape)
            rows[number][place] = least[number]
        model.buffers[kernel.buffer].data = np.frombuffer(weights.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _values(model: Any, tensor: Any) -> np.ndarray:
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)


def name_tensors(model: Any, input_name: str, output_name: str) -> None:
    """Names the only input, the only output, and the signature that has both.

    The signature is called as those of all other tools, which look for this name.
    """
    (graph,) = model.subgraphs
    (source,), (result,) = graph.inputs, graph.outputs
    graph.tensors[source].name = input_name.encode()
    graph.tensors[result].name = output_name.encode()
    (signature,) = model.signatureDefs
    signature.signatureKey = b"serving_default"
    signature.inputs[0].name = input_name.encode()
    signature.outputs[0].name = output_name.encode()


def check_graph(model: Any, num_convolutions: int, float_context: bool = True) -> None:
    """Checks that a file runs on a phone's processor and GPU.

    Args:
        model: see this module.
        num_convolutions: number that it must have.
        float_context: whether the context may be in float32 only.

    Raises:
        RuntimeError: when it has operations that a phone lacks, sizes that are known
            only at run time, or a quantised context: a fault of this package or of the
            converter, never of the user.
    """
    counts = Counter(name for name, _ in operations(model))
    faults = [f"{counts[name]} {name}" for name in sorted(_REFUSED) if counts[name]]
    (graph,) = model.subgraphs
    source = graph.tensors[graph.inputs[0]]
    if source.type == schema.TensorType.UINT8 and not _is_plain(source.quantization):
        faults.append("an input of other values than 0-255")
    convolutions = sum(counts[name] for name in _CONVOLUTIONS)
    if convolutions != num_convolutions:
        faults.append(f"{convolutions} convolutions in place of {num_convolutions}")
    for name, outputs in operations(model):
        for tensor in outputs:
            if tensor.shapeSignature is not None and min(tensor.shapeSignature) < 0:
                faults.append(f"{name} of a size that is known only when it runs")
            is_float = tensor.type == schema.TensorType.FLOAT32
            if name in _FLOAT_ONLY and float_context and not is_float:
                faults.append(f"{name} in less than float32")
    if faults:
        raise RuntimeError(f"The converted file is not as expected: {faults}")


def _is_plain(quantisation: Any) -> bool:
    return list(quantisation.scale) == [1] and list(quantisation.zeroPoint) == [0]
