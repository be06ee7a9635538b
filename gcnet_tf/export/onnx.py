"""Export to ONNX, for ONNX Runtime, OpenVINO and other runtimes."""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.export.calibration import calibration_images
from gcnet_tf.export.files import describe, placed
from gcnet_tf.export.onnx_dilation import with_dilations
from gcnet_tf.export.onnx_int8 import quantised, quiet
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import INPUT, inference_graph
from gcnet_tf.runtime.manifest import LABELS, PROBABILITIES, ExportManifest, TensorInfo

# The last version in which reductions have their axes as an attribute. From 18 on the
# axes are an input, which tf2onnx 1.17 leaves unchanged where it transposes a tensor:
# the context would be summed over the wrong axes, and runtimes refuse the shapes.
OPSET = 17
LAYOUTS = ("nhwc", "nchw")
# What writes a precision, besides the converter.
_PACKAGES: dict[str, tuple[str, ...]] = {"fp32": (), "int8": ("onnxruntime",)}


def export_onnx(
    model: Segmentor,
    config: Config,
    out: Path,
    *,
    precision: str = "fp32",
    size: tuple[int, int] | None = None,
    layout: str = "nhwc",
    values: str = PROBABILITIES,
) -> list[Path]:
    """Writes `model_PRECISION.onnx` into `out`.

    Its input is `images`, RGB 0-255, in batches of any size; its outputs are `labels`,
    uint8 `(batch, height, width)`, and `probabilities` or `logits`, float32 `(batch,
    height, width, num_classes)`, of which a runtime computes those that are asked for.
    It is the network alone. Its metadata holds, as JSON, the names of the `classes` and
    the `protocol` of its manifest, and `usage`, which says in words what to do with a
    photo.

    Protobuf is limited to 2 GB; the largest published model, an R101, takes 0.27 GB.

    Args:
        model: the trained model.
        config: its configuration; int8 needs its training records.
        out: the folder for the file.
        precision: "fp32", or "int8": 8 bits but for the context and the classifier,
            with ranges from training images; see `onnx_int8.quantised`.
        size: (height, width) of the images; None for any, for which the ranges are
            found at the size of the training crops.
        layout: layout of the input and of the second output: "nhwc", with uint8 images
            `(batch, height, width, 3)`, or "nchw", with float32 images `(batch, 3,
            height, width)`.
        values: the second output, "probabilities" or "logits".

    Raises:
        UserError: when a package or records are missing, or the file exists and is not
            an earlier export.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {LAYOUTS}. Received: {layout}")
    _require_packages(precision)
    outputs = {
        LABELS: TensorInfo(LABELS, "uint8", "nhw", "class ids"),
        values: TensorInfo(values, "float32", layout, f"{values} of the classes"),
    }
    dtype = tf.uint8 if layout == "nhwc" else tf.float32
    manifest = describe(
        model,
        config,
        format="onnx",
        precision=precision,
        size=size,
        batch=None,
        input=TensorInfo(INPUT, dtype.name, layout, "RGB, 0-255"),
        outputs=outputs,
        packages=("tensorflow", "keras", "tf2onnx", "onnx", *_PACKAGES[precision]),
    )
    manifest.versions["opset"] = str(OPSET)
    spec = tf.TensorSpec([None, *(size or (None, None)), 3], dtype, INPUT)
    path = out / f"model_{precision}.onnx"
    with placed(path, manifest) as partial:
        images = _images(model, config, size, layout) if precision == "int8" else None
        names = sorted(outputs)
        graph = inference_graph(model, spec, names)
        proto = _convert(graph, names, layout)
        if images is not None:
            proto = quantised(proto, images)
        _add_metadata(proto, manifest)
        partial.write_bytes(proto.SerializeToString())
    return [path]


def _images(
    model: Segmentor, config: Config, size: tuple[int, int] | None, layout: str
) -> np.ndarray:
    """Collects calibration images as the file takes them."""
    images = calibration_images(model, config, size or config.augment.crop_size)
    if layout == "nchw":
        return images.transpose(0, 3, 1, 2).astype(np.float32)
    return images


def _convert(graph: Any, names: Sequence[str], layout: str) -> Any:
    """Converts a frozen function to an ONNX model, and names its outputs."""
    import onnx
    import tf2onnx

    outputs = [tensor.name for tensor in graph.outputs]
    images = graph.inputs[0].name
    with quiet(), _copies_freed():
        proto, _ = tf2onnx.convert.from_graph_def(
            with_dilations(graph.graph.as_graph_def()),
            name="gcnet_tf",
            input_names=[images],
            output_names=outputs,
            opset=OPSET,
            inputs_as_nchw=[images] if layout == "nchw" else None,
            tensors_to_rename={images: INPUT, **dict(zip(outputs, names))},
        )
    _name_sides(proto.graph, layout)
    _enlarge_factors(proto.graph)
    _labels_by_float(proto.graph)
    _shape_of_float(proto.graph)
    if layout == "nchw":
        _channels_first(proto.graph)
    else:
        _classes_last(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto


@contextmanager
def _copies_freed() -> Iterator[None]:
    """Frees the copies of a graph that tf2onnx makes, one for each of its passes.

    They hold each other in circles, few objects of 200 MB, and Python's collector
    counts objects: they stayed, and an R50 took 14 GB.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what is there already is not looked through again
    gc.collect()
    gc.set_threshold(before[0], 2, 1)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()


def _add_metadata(proto: Any, manifest: ExportManifest) -> None:
    """Adds what a user of the file alone has to know."""
    texts = {
        "classes": json.dumps(manifest.classes),
        "protocol": json.dumps(manifest.protocol),
        "usage": manifest.usage,
    }
    for key, value in texts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


def _name_sides(graph: Any, layout: str) -> None:
    """Names the sides without a fixed length "batch", "height" and "width".

    Equal names also tell a reader that a label map has the size of its image.
    """
    for tensor in [*graph.input, *graph.output]:
        batch, *sides = tensor.type.tensor_type.shape.dim
        if layout == "nchw" and tensor.name == INPUT:
            sides = sides[1:]  # without the channels, whose number is known
        for side, name in zip([batch, *sides], ("batch", "height", "width")):
            if not side.HasField("dim_value"):
                side.dim_param = name


def _enlarge_factors(graph: Any) -> None:
    """Makes the factors of a resize to a known size large enough in float32.

    A runtime that rounds down would lose a pixel: 13 times 97 / 13 is 96.99. Sizes in
    place of factors would hold the size of the batch, too.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    (values,) = [tensor for tensor in graph.output if tensor.name != LABELS]
    sides = values.type.tensor_type.shape.dim[1:3]
    for node in graph.node:
        if node.op_type != "Resize" or len(node.input) != 3:
            continue
        constant = constants[node.input[2]]
        factors = numpy_helper.to_array(constant).copy()
        for axis, side in zip((2, 3), sides):
            old = round(side.dim_value / float(factors[axis]))
            factors[axis] = np.float32(side.dim_value / old)
            while float(factors[axis]) * old < side.dim_value:
                factors[axis] = np.nextafter(factors[axis], np.float32(np.inf))
        constant.CopyFrom(numpy_helper.from_array(factors, constant.name))


def _labels_by_float(graph: Any) -> None:
    """Casts labels from float32 to uint8: TensorRT has no cast from int32 to uint8."""
    from onnx import TensorProto

    makers = {name: node for node in graph.node for name in node.output}
    cast = makers[makers[LABELS].input[0]]
    assert (cast.op_type, makers[cast.input[0]].op_type) == ("Cast", "ArgMax")
    cast.attribute[0].i = TensorProto.FLOAT


def _shape_of_float(graph: Any) -> None:
    """Reads sizes from the images as float32: TensorRT gives uint8 to casts only."""
    casts = [
        node for node in graph.node if node.op_type == "Cast" and INPUT in node.input
    ]
    if not casts:
        return  # the images are float32
    (cast,) = casts
    for node in graph.node:
        if node.op_type == "Shape" and INPUT in node.input:
            node.input[0] = cast.output[0]
    _reorder(graph, [cast, *(node for node in graph.node if node is not cast)])


def _classes_last(graph: Any) -> None:
    """Lets softmax and ArgMax follow the turn to channels last, not precede it.

    Over the axis 1, ONNX Runtime turns the tensor around its softmax once more: with
    21 classes at 512x512, the three took 125 ms of a processor and take 20.
    """
    (values,) = [tensor for tensor in graph.output if tensor.name != LABELS]
    makers = {name: node for node in graph.node for name in node.output}
    turn = makers[values.name]
    assert turn.op_type == "Transpose" and turn.attribute[0].ints == [0, 2, 3, 1]
    softmax = makers[turn.input[0]]
    turned = values.name
    if softmax.op_type == "Softmax":
        turned = f"{values.name}_turned"
        turn.input[0], turn.output[0] = softmax.input[0], turned
        softmax.input[0], softmax.output[0] = turned, values.name
        softmax.attribute[0].i = -1
    for node in graph.node:
        if node.op_type == "ArgMax":
            assert node.input[0] == turn.input[0]
            node.input[0] = turned
            (axis,) = [item for item in node.attribute if item.name == "axis"]
            axis.i = 3
    order = [node for node in graph.node if node is not turn]
    order.insert(order.index(makers[turn.input[0]]) + 1, turn)
    _reorder(graph, order)


def _reorder(graph: Any, order: Sequence[Any]) -> None:
    """Puts the nodes into an order in which each follows its inputs."""
    nodes = [type(node).FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _channels_first(graph: Any) -> None:
    """Turns the values per class, which tf2onnx turns to channels last at the end."""
    (values,) = [tensor for tensor in graph.output if tensor.name != LABELS]
    (turn,) = [node for node in graph.node if values.name in node.output]
    assert turn.op_type == "Transpose" and turn.attribute[0].ints == [0, 2, 3, 1]
    inner = turn.input[0]
    graph.node.remove(turn)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [values.name if name == inner else name for name in names]
    sides = values.type.tensor_type.shape.dim
    batch, height, width, channels = [
        type(side).FromString(side.SerializeToString()) for side in sides
    ]
    del sides[:]
    sides.extend([batch, channels, height, width])


def _require_packages(precision: str) -> None:
    """Checks, before the long work, that the converter is installed."""
    for package in ("onnx", "tf2onnx", *_PACKAGES[precision]):
        try:
            import_module(package)
        except ImportError as error:
            raise UserError(
                f"ONNX export needs the package {package}, which is not installed: "
                f"pip install {package}"
            ) from error
