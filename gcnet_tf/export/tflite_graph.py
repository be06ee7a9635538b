"""Checks of TFLite files, and the small changes that the converter cannot make.

A model is the object that `tensorflow.lite.tools.flatbuffer_utils` makes of a file.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
# Operations that GPU delegates refuse and that nothing in the network needs.
_REFUSED = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TRANSPOSE", "CUSTOM"}
# Operations that lose the context in 8 bits.
_FLOAT_ONLY = {"EXP", "DIV", "SQUARED_DIFFERENCE", "RSQRT"}
# Logits are resized and compared in float: it takes no more time and avoids rounding.
_FLOAT_AT_THE_END = {"RESIZE_BILINEAR", "ARG_MAX"}
# Part of the names of all tensors of a global context block.
_CONTEXT = "/context"


def operations(model: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields the name of each operation with its output tensors."""
    (graph,) = model.subgraphs
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex]
        name = flatbuffer_utils.opcode_to_name(model, operation.opcodeIndex)
        if code.customCode is not None:
            name = "CUSTOM"
        yield name, [graph.tensors[index] for index in operation.outputs]


def stays_float(model: Any) -> list[str]:
    """Lists the tensors that an int8 file computes in float.

    These are the global context and the resized logits. In 8 bits, the context's means
    over thousands of positions and its layer normalisation change three times as many
    pixels as all convolutions together; in float they take no measurable time.
    """
    return [
        tensor.name.decode()
        for operation, outputs in operations(model)
        for tensor in outputs
        if _CONTEXT in tensor.name.decode() or operation in _FLOAT_AT_THE_END
    ]


def keep_output(model: Any, name: str) -> None:
    """Removes all outputs except the one that the signature calls `name`."""
    (signature,) = model.signatureDefs
    signature.outputs = [o for o in signature.outputs if o.name.decode() == name]
    (graph,) = model.subgraphs
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    # Operations that only the other outputs need are removed, from the last one on.
    needed = set(graph.outputs)
    kept_operations = []
    for operation in reversed(graph.operators):
        if needed & set(operation.outputs):
            needed |= set(operation.inputs)
            kept_operations.append(operation)
    graph.operators = kept_operations[::-1]


def set_input_range(model: Any, low: float, high: float) -> None:
    """Replaces the range of the input that the calibration found.

    With 0 and 255 the quantised input is the bytes of an image. So a program may ignore
    the scale, and calibration images need no white pixel.
    """
    (graph,) = model.subgraphs
    quantisation = graph.tensors[graph.inputs[0]].quantization
    quantisation.min, quantisation.max = [low], [high]


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


def check_graph(model: Any, num_convolutions: int) -> None:
    """Checks that a file runs on a phone's processor and GPU.

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
            if name in _FLOAT_ONLY and tensor.type != schema.TensorType.FLOAT32:
                faults.append(f"{name} in less than float32")
    if faults:
        raise RuntimeError(f"The converted file is not as expected: {faults}")


def _is_plain(quantisation: Any) -> bool:
    return list(quantisation.scale) == [1] and list(quantisation.zeroPoint) == [0]
