"""Asks TensorFlow's register of kernels what a graph would do on a GPU.

The register needs no GPU, only a TensorFlow that was built with CUDA, as the usual
wheels for Linux are. It says which operations have a kernel there for their types, and
which of their inputs and outputs such a kernel wants in the memory of the host: on the
way through it a tensor leaves the GPU and comes back.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

# Shapes, axes, permutations and values of a batch have fewer.
SMALL = 256

needs_register = pytest.mark.skipif(
    not tf.sysconfig.get_build_info().get("is_cuda_build"),
    reason="This TensorFlow is built without CUDA: it registers no kernel of a GPU.",
)


class Findings(NamedTuple):
    """Reasons for which a GPU would wait for the host."""

    without_kernel: set[str]
    """Operations that no kernel of a GPU computes, as "DecodePng (string) uint8"."""
    through_host: set[str]
    """Large tensors that must be in the memory of the host, as "Reshape.tensor int32
    (2, 32, 32)"."""


NOTHING = Findings(set(), set())


def findings(graph: tf.Graph) -> Findings:
    """Looks through a graph and all functions that it calls.

    What XLA compiles is one kernel, whose inputs and outputs stay on the GPU.
    """
    found = Findings(set(), set())
    for op in _operations(graph):
        if op.type == "Const" and op.outputs[0].dtype == tf.string:
            continue  # the text of an assertion, which the host has anyway
        if op.type == "Placeholder" and not op.outputs[0].consumers():
            continue
        kernel = _kernel(op)
        if kernel is None:
            types = [tensor.dtype.name for tensor in op.inputs]
            results = [tensor.dtype.name for tensor in op.outputs]
            found.without_kernel.add(
                f"{op.type} ({', '.join(types)}) {', '.join(results)}"
            )
            continue
        for name, tensor in _arguments(op):
            if name in kernel.host_memory_arg and _is_large(tensor):
                found.through_host.add(
                    f"{op.type}.{name} {tensor.dtype.name} {tensor.shape}"
                )
    return found


def _is_large(tensor: tf.Tensor) -> bool:
    if tensor.dtype in (tf.resource, tf.variant):
        return False  # a handle of what lies elsewhere
    shape = tensor.shape
    size = shape.num_elements()
    if size is None:
        # Vectors of a length that only the run knows are sizes and positions. Without
        # a rank are scalars, such as the verdict on gradients in Keras' loss scaling.
        return shape.rank is not None and shape.rank > 1
    return size > SMALL


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Yields the operations of a graph and of the functions that it calls."""
    library = {f.signature.name: f for f in graph.as_graph_def().library.function}
    waiting = [graph]
    seen: set[tuple] = set()
    while waiting:
        for op in waiting.pop().get_operations():
            yield op
            for name in _called(op):
                function = library[name]
                shapes = _shapes_for(op, len(function.signature.input_arg))
                key = (name, str(shapes))
                if key in seen or function.attr["_XlaMustCompile"].b:
                    continue
                seen.add(key)
                with graph.as_default():
                    waiting.append(function_def_to_graph(function, shapes))


def _called(op: tf.Operation) -> Iterator[str]:
    for value in op.node_def.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _shapes_for(op: tf.Operation, number: int) -> list[tf.TensorShape]:
    """Returns the shapes of a called function's arguments: the last inputs of `op`."""
    return [tensor.shape for tensor in op.inputs][len(op.inputs) - number :]


def _kernel(op: tf.Operation) -> Any:
    """Finds the kernel that a GPU would take; None where there is none."""
    # Arguments of a function are placeholders in its graph.
    name = "_Arg" if op.type == "Placeholder" else op.type
    attributes = op.node_def.attr
    if name == "_Arg":
        attributes = {"T": attributes["dtype"]}
    for device in ("GPU", "DEFAULT"):
        fitting = [k for k in _kernels(name, device) if _fits(k, attributes)]
        if fitting:
            return max(fitting, key=lambda kernel: kernel.priority)
    return None


@cache
def _kernels(name: str, device: str) -> list[Any]:
    registered = kernels.get_registered_kernels_for_op(name).kernel
    return [k for k in registered if k.device_type == device and not k.label]


def _fits(kernel: Any, attributes: Any) -> bool:
    for constraint in kernel.constraint:
        value = attributes[constraint.name]
        types: Iterable[int] = value.list.type or [value.type]
        if not set(types) <= set(constraint.allowed_values.list.type):
            return False
    return True


def _arguments(op: tf.Operation) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields inputs and outputs with their names; a name may have several tensors."""
    for definitions, tensors in (
        (op.op_def.input_arg, iter(op.inputs)),
        (op.op_def.output_arg, iter(op.outputs)),
    ):
        for definition in definitions:
            for _ in range(_number(op, definition)):
                yield definition.name, next(tensors)


def _number(op: tf.Operation, definition: Any) -> int:
    if definition.number_attr:
        return op.get_attr(definition.number_attr)
    if definition.type_list_attr:
        return len(op.get_attr(definition.type_list_attr))
    return 1
