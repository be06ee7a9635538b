"""Export to ONNX, for ONNX Runtime, OpenVINO and other runtimes."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.export.files import describe, placed
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import INPUT, inference_graph
from gcnet_tf.runtime.manifest import LABELS, PROBABILITIES, TensorInfo

# The last version in which reductions have their axes as an attribute. From 18 on the
# axes are an input, which tf2onnx 1.17 leaves unchanged where it transposes a tensor:
# the context would be summed over the wrong axes, and runtimes refuse the shapes.
OPSET = 17
LAYOUTS = ("nhwc", "nchw")


def export_onnx(
    model: Segmentor,
    config: Config,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    layout: str = "nhwc",
    values: str = PROBABILITIES,
) -> list[Path]:
    """Writes `model_fp32.onnx` into `out`.

    Its input is `images`, RGB 0-255; its outputs are `labels`, uint8 `(batch, height,
    width)`, and `probabilities` or `logits`, float32 `(batch, height, width,
    num_classes)`.

    Protobuf is limited to 2 GB; the largest published model, an R101, takes 0.27 GB.

    Args:
        model: the trained model.
        config: its configuration.
        out: the folder for the file.
        size: (height, width) of the images, in batches of one; None for any size and
            any batch size.
        layout: layout of the input: "nhwc", uint8 `(batch, height, width, 3)`, or
            "nchw", float32 `(batch, 3, height, width)`.
        values: the second output, "probabilities" or "logits".

    Raises:
        UserError: when a package is missing, or the file exists and is not an earlier
            export.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {LAYOUTS}. Received: {layout}")
    _require_packages()
    outputs = {
        LABELS: TensorInfo(LABELS, "uint8", "nhw", "class ids"),
        values: TensorInfo(values, "float32", "nhwc", f"{values} of the classes"),
    }
    dtype = tf.uint8 if layout == "nhwc" else tf.float32
    manifest = describe(
        model,
        config,
        format="onnx",
        precision="fp32",
        size=size,
        batch=None if size is None else 1,
        input=TensorInfo(INPUT, dtype.name, layout, "RGB, 0-255"),
        outputs=outputs,
        packages=("tensorflow", "keras", "tf2onnx", "onnx"),
    )
    manifest.versions["opset"] = str(OPSET)
    shape = [None, None, None, 3] if size is None else [1, *size, 3]
    spec = tf.TensorSpec(shape, dtype, INPUT)
    path = out / "model_fp32.onnx"
    with placed(path, manifest) as partial:
        names = sorted(outputs)
        graph = inference_graph(model, spec, names)
        partial.write_bytes(_convert(graph, names, layout))
    return [path]


def _convert(graph: Any, names: Sequence[str], layout: str) -> bytes:
    """Converts a frozen function to an ONNX file, and names its outputs."""
    import onnx
    import tf2onnx

    outputs = [tensor.name for tensor in graph.outputs]
    images = graph.inputs[0].name
    with _quiet():
        proto, _ = tf2onnx.convert.from_graph_def(
            graph.graph.as_graph_def(),
            name="gcnet_tf",
            input_names=[images],
            output_names=outputs,
            opset=OPSET,
            inputs_as_nchw=[images] if layout == "nchw" else None,
            tensors_to_rename={images: INPUT, **dict(zip(outputs, names))},
        )
    _name_sides(proto.graph, layout)
    _resize_to_sizes(proto.graph)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


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


def _resize_to_sizes(graph: Any) -> None:
    """Replaces the factor of each resize between known sizes by the new size.

    With a factor in float32, a runtime that rounds down loses a pixel: 13 times 97 / 13
    is 96.99.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    (values,) = [tensor for tensor in graph.output if tensor.name != LABELS]
    batch, height, width, channels = values.type.tensor_type.shape.dim
    sizes = [side.dim_value for side in (batch, channels, height, width)]
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) == 3:
            factors = constants[node.input[2]]
            factors.CopyFrom(
                numpy_helper.from_array(np.array(sizes, np.int64), factors.name)
            )
            node.input[2:] = ["", factors.name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides warnings, because tf2onnx calls deprecated functions of TensorFlow."""
    level_before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level_before)


def _require_packages() -> None:
    """Checks, before the long work, that the converter is installed."""
    for package in ("onnx", "tf2onnx"):
        try:
            import_module(package)
        except ImportError as error:
            raise UserError(
                f"ONNX export needs the package {package}, which is not installed: "
                f"pip install {package}"
            ) from error
