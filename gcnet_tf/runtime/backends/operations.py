"""The check that a SavedModel computes, and does nothing else.

A SavedModel is a program, whose operations can read and write any file. Its graph is
looked through before TensorFlow loads it.
"""

from importlib import import_module
from pathlib import Path

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.backends.common import interpreter, unreadable

# Besides all stateless mathematics: what our exports hold. Those with "Dataset" catch
# the error of a photo that cannot be decoded; those that assign and destroy variables
# keep in memory what is computed once.
_ALLOWED = frozenset("""
    Assert AssignVariableOp BitwiseAnd DecodeImage DecodeJpeg DecodeRaw
    DestroyResourceOp EncodePng If IgnoreErrorsDataset MapDataset NoOp PartitionedCall
    RaggedTensorFromVariant RaggedTensorToTensor RaggedTensorToVariant ReadVariableOp
    ReduceDataset ResizeBilinear RightShift StatefulPartitionedCall StatelessIf
    StatelessWhile Substr TensorDataset TensorListConcatV2 TensorListFromTensor
    TensorListGetItem TensorListReserve TensorListSetItem TensorListStack VarHandleOp
    While
    """.split())
# Outside of what is run: what writes and reads the variables' own files.
_SAVER = frozenset("""
    DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename
    StaticRegexFullMatch StringJoin VarIsInitializedOp
    """.split())
# Objects that TensorFlow makes again: a resource by its own functions, which are looked
# through like all others, the rest without running anything.
_OBJECTS = frozenset(
    ["user_object", "function", "bare_concrete_function", "variable"]
    + ["constant", "captured_tensor", "resource"]
)
_MATHEMATICS = ("gen_array_ops", "gen_math_ops", "gen_nn_ops")


def check_operations(model: Path) -> None:
    """Checks a SavedModel without running anything of it.

    Raises:
        UserError: when it holds other operations or objects than our exports do, or
            TensorFlow is missing or cannot read it.
    """
    messages = interpreter(
        "tensorflow.core.protobuf.saved_model_pb2", "tensorflow", model
    )
    try:
        graphs = messages.SavedModel.FromString(
            (model / "saved_model.pb").read_bytes()
        ).meta_graphs
    # Protobuf's own exception, or one of the file system.
    except Exception as error:
        raise unreadable(model, error) from error
    # TensorFlow runs the nodes of other graphs while it loads them.
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise _refused(model, "no object graph, or several graphs")
    (graph,) = graphs
    for item in graph.object_graph_def.nodes:
        kind = item.WhichOneof("kind")
        if kind not in _OBJECTS or item.registered_name:
            raise _refused(model, f'an object "{item.registered_name or kind}"')
    allowed = _ALLOWED | _stateless_mathematics()
    savers, others = {}, [graph.object_graph_def]
    functions = graph.graph_def.library.function
    for nodes in [graph.graph_def.node, *(item.node_def for item in functions)]:
        if unknown := {node.op for node in nodes} - allowed - _SAVER:
            raise _refused(model, f"the operation {min(unknown)}")
    for item in functions:
        if unknown := {node.op for node in item.node_def} - allowed:
            savers[item.signature.name] = min(unknown)
        else:
            others.append(item)
    # A name is in the bytes of whatever can call it, in one place or another.
    for caller in others:
        content = caller.SerializeToString()
        for name, operation in savers.items():
            if name.encode() in content:
                raise _refused(model, f"the operation {operation}")


def _stateless_mathematics() -> set[str]:
    registry = import_module("tensorflow.python.framework.op_def_registry")
    names = set().union(
        *(vars(import_module(f"tensorflow.python.ops.{name}")) for name in _MATHEMATICS)
    )
    definitions = {name: registry.get(name) for name in names if name[0].isupper()}
    return {
        name
        for name, definition in definitions.items()
        if definition is not None and not definition.is_stateful
    }


def _refused(model: Path, reason: str) -> UserError:
    return UserError(
        f"{model} holds {reason}, which no export of gcnet_tf does: it might read and "
        "write other files. Nothing of it was run. Ask for the .onnx "
        "or the .tflite file. If it is yours and has a layer of your own "
        "(model.head.context_layer), write that layer with TensorFlow's stateless "
        "mathematics alone."
    )
