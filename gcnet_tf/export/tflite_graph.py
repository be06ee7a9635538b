"""Looking into TFLite files, and the little surgery that the converter leaves to us.

Models are what `tensorflow.lite.tools.flatbuffer_utils` reads: flatbuffers as objects.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
# GPU delegates refuse them, and nothing in the network needs them.
_REFUSED = {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TRANSPOSE", "CUSTOM"}
# In 8 bits these lose the context.
_FLOAT_ONLY = {"EXP", "DIV", "SQUARED_DIFFERENCE", "RSQRT"}
# Enlarging and comparing scores in float costs no time and spares their rounding.
_FLOAT_AT_THE_END = {"RESIZE_BILINEAR", "ARG_MAX"}
# In the names of all tensors of a global context block.
_CONTEXT = "/context"


def operations(model: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """The name of each operation and its output tensors."""
    (graph,) = model.subgraphs
    for operation in graph.operators:
        code = model.operatorCodes[operation.opcodeIndex]
        name = flatbuffer_utils.opcode_to_name(model, operation.opcodeIndex)
        if code.customCode is not None:
            name = "CUSTOM"
        yield name, [graph.tensors[index] for index in operation.outputs]


def stays_float(model: Any) -> list[str]:
    """The tensors that are computed in float in an int8 file.

    These are the global context and the enlarged scores. In 8 bits the context's means
    over thousands of positions and its layer normalisation cost three times as many
    pixels as all convolutions together; in float they take no measurable time.
    """
    return [
        tensor.name.decode()
        for operation, outputs in operations(model)
        for tensor in outputs
        if _CONTEXT in tensor.name.decode() or operation in _FLOAT_AT_THE_END
    ]


def keep_output(model: Any, name: str) -> None:
    """Makes the output called `name` in the signature the only one."""
    (signature,) = model.signatureDefs
    signature.outputs = [o for o in signature.outputs if o.name.decode() == name]
    (graph,) = model.subgraphs
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    # What only the others needed; later operations first.
    needed = set(graph.outputs)
    kept = []
    for operation in reversed(graph.operators):
        if needed & set(operation.outputs):
            needed |= set(operation.inputs)
            kept.append(operation)
    graph.operators = kept[::-1]


def set_input_range(model: Any, low: float, high: float) -> None:
    """Replaces the range of the input that was found in calibration.

    With 0 and 255 the bytes of an image are the quantised input, also for whoever does
    not heed scales, and where no calibration image had a white pixel.
    """
    (graph,) = model.subgraphs
    quantisation = graph.tensors[graph.inputs[0]].quantization
    quantisation.min, quantisation.max = [low], [high]


def name_tensors(model: Any, input_name: str, output_name: str) -> None:
    """Names the one input and the one output."""
    (graph,) = model.subgraphs
    (source,), (result,) = graph.inputs, graph.outputs
    graph.tensors[source].name = input_name.encode()
    graph.tensors[result].name = output_name.encode()
    (signature,) = model.signatureDefs
    signature.inputs[0].name = input_name.encode()
    signature.outputs[0].name = output_name.encode()


def check_graph(model: Any, num_convolutions: int) -> None:
    """Checks that a file runs on a phone's processor and GPU.

    Raises:
        RuntimeError: when it has operations that are missing there, sizes that are not
            known before, or a quantised context: a fault of this package or of the
            converter, and never the user's.
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
        raise RuntimeError(f"The converted file is not what was meant: {faults}")


def _is_plain(quantisation: Any) -> bool:
    return list(quantisation.scale) == [1] and list(quantisation.zeroPoint) == [0]
