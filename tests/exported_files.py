"""Tiny exported files with their manifests: six classes, each a weighted sum of RGB."""

from pathlib import Path

import numpy as np

from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.runtime.manifest import (
    LABELS,
    LOGITS,
    PROBABILITIES,
    ExportManifest,
    TensorInfo,
    content_hash,
    write_manifest,
)

# Class 0 is predicted nowhere; between the others a pixel's colour decides.
WEIGHTS = np.random.default_rng(5).normal(size=(3, 6)).astype(np.float32) / 32
WEIGHTS[:, 0] = -0.1
SIZE = (24, 32)


def logits(images: np.ndarray) -> np.ndarray:
    """Computes the logits that every file computes from RGB images."""
    return images.astype(np.float32) @ WEIGHTS


def describe(
    path: Path, file_format: str, size, batch, input: TensorInfo, outputs, settings=()
) -> Path:
    """Writes the manifest of a file, and returns the file's path."""
    config = load_config("shapes_r18", ["evaluation.scale=[64,48]", *settings])
    facts = facts_of(config.data)
    raw_config = config_to_dict(config)
    protocol = {**raw_config["evaluation"], "align_corners": config.model.align_corners}
    manifest = ExportManifest(
        format=file_format,
        target="portable",
        precision="fp32",
        classes=facts.classes,
        palette=facts.palette,
        size=size,
        batch=batch,
        input=input,
        outputs=outputs,
        protocol=protocol,
        config=raw_config,
        weights_sha256="",
        sha256=content_hash(path),
        versions={},
    )
    write_manifest(path, manifest)
    return path


def outputs_info(*kinds: str, **names: str) -> dict[str, TensorInfo]:
    """Describes outputs; a tensor has its kind as its name, or that of `names`."""
    return {
        kind: TensorInfo(
            names.get(kind, kind), "uint8" if kind == LABELS else "float32", "", ""
        )
        for kind in kinds
    }


def write_onnx(
    folder: Path, kinds=(LABELS, PROBABILITIES), size=None, layout="nhwc", settings=()
) -> Path:
    """Writes an ONNX file node by node, without a converter."""
    from onnx import TensorProto, helper, numpy_helper, save

    dtype = "uint8" if layout == "nhwc" else "float32"
    sides = list(size or ("height", "width"))
    batch = "batch" if size is None else 1
    shape = [batch, *sides, 3] if layout == "nhwc" else [batch, 3, *sides]
    types = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
    channels_last = "images" if layout == "nhwc" else "channels_last"
    nodes = [
        helper.make_node("Cast", [channels_last], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weights"], [LOGITS]),
        helper.make_node("Softmax", [LOGITS], [PROBABILITIES], axis=-1),
        helper.make_node("ArgMax", [LOGITS], ["ids"], axis=-1, keepdims=0),
        helper.make_node("Cast", ["ids"], [LABELS], to=TensorProto.UINT8),
    ]
    if layout == "nchw":
        nodes.insert(
            0,
            helper.make_node(
                "Transpose", ["images"], ["channels_last"], perm=[0, 2, 3, 1]
            ),
        )
    outputs = [
        helper.make_tensor_value_info(
            kind,
            types["uint8" if kind == LABELS else "float32"],
            [batch, *sides] if kind == LABELS else [batch, *sides, 6],
        )
        for kind in kinds
    ]
    images = helper.make_tensor_value_info("images", types[dtype], shape)
    weights = numpy_helper.from_array(WEIGHTS, "weights")
    graph = helper.make_graph(nodes, "tiny", [images], outputs, [weights])
    opset = [helper.make_opsetid("", 17)]
    path = folder / "model.onnx"
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return describe(
        path,
        "onnx",
        size,
        None if size is None else 1,
        TensorInfo("images", dtype, layout, "RGB"),
        outputs_info(*kinds),
        settings,
    )


def write_tflite(folder: Path, kind=LOGITS, size=SIZE, settings=()) -> Path:
    """Writes a TFLite file for images of one size."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    @tf.function(input_signature=[tf.TensorSpec([1, *size, 3], tf.float32, "images")])
    def infer(images):
        outputs = tf.linalg.matmul(images, WEIGHTS)
        if kind == LABELS:
            ids = tf.argmax(outputs, axis=-1, output_type=tf.int32)
            return {kind: tf.cast(ids, tf.uint8)}
        return {kind: outputs}

    graph = infer.get_concrete_function()
    model = tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert()
    path = folder / ("model_labels.tflite" if kind == LABELS else "model.tflite")
    path.write_bytes(model)
    interpreter = Interpreter(str(path))
    (input_,) = interpreter.get_input_details()
    (output,) = interpreter.get_output_details()
    return describe(
        path,
        "tflite",
        size,
        1,
        TensorInfo(input_["name"], "float32", "nhwc", "RGB"),
        outputs_info(kind, **{kind: output["name"]}),
        settings,
    )


def write_saved_model(folder: Path, settings=()) -> Path:
    """Writes a SavedModel for images of any size."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")

    @tf.function(input_signature=[spec])
    def serve(images):
        outputs = tf.linalg.matmul(tf.cast(images, tf.float32), WEIGHTS)
        ids = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        return {LABELS: tf.cast(ids, tf.uint8), PROBABILITIES: tf.nn.softmax(outputs)}

    module = tf.Module()
    module.serve = serve
    path = folder / "saved_model"
    tf.saved_model.save(module, str(path), signatures=serve)
    return describe(
        path,
        "saved_model",
        None,
        None,
        TensorInfo("images", "uint8", "nhwc", "RGB"),
        outputs_info(LABELS, PROBABILITIES),
        settings,
    )
