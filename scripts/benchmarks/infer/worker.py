"""Worker that runs one exported file, or the Keras model.

    python -m benchmarks.infer.worker KIND FILE HEIGHT WIDTH THREADS

KIND is "file" for an exported file, run as `gcnet_tf.runtime` runs it; "onnxruntime",
"openvino" or "openvino-bf16" for any ONNX file; "keras" for the training model with
drawn weights, where FILE is a configuration. See `turns.serve_candidate` for its
streams; a run infers one image.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.turns import limit_tensorflow, serve_candidate
from gcnet_tf.runtime.backends import format_of, open_backend
from gcnet_tf.runtime.manifest import read_manifest

INTERPRETERS = {
    "saved_model": "tensorflow",
    "tflite": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
    "keras": "tensorflow",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "openvino-bf16": "openvino",
}


def exported(path: Path, image: np.ndarray, threads: int) -> Callable[[], object]:
    """Opens a file that `scripts/export.py` wrote."""
    backend = open_backend(path, read_manifest(path), threads)
    return lambda: backend.run(image)


def keras_model(path: Path, image: np.ndarray, threads: int) -> Callable[[], object]:
    """Builds the training model as it is, in a `tf.function`."""
    import tensorflow as tf

    from benchmarks.drawn import drawn_model
    from gcnet_tf.config import load_config

    limit_tensorflow(threads)
    model = drawn_model(load_config(str(path)))

    @tf.function
    def infer(images):
        logits = model(images)["logits"]
        return tf.cast(tf.argmax(logits, -1), tf.uint8), tf.nn.softmax(logits)

    return lambda: [output.numpy() for output in infer(tf.constant(image))]


def onnxruntime(path: Path, image: np.ndarray, threads: int) -> Callable[[], object]:
    """Opens an ONNX file in ONNX Runtime."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    inputs = {
        session.get_inputs()[0].name: _as_input(image, session.get_inputs()[0].type)
    }
    return lambda: session.run(None, inputs)


def openvino(
    path: Path, image: np.ndarray, threads: int, precision: str = "f32"
) -> Callable[[], object]:
    """Opens an ONNX file in OpenVINO, which computes in this precision."""
    import openvino as ov

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = ov.Core().compile_model(str(path), "CPU", settings)
    inputs = [_as_input(image, model.input(0).element_type.get_type_name())]
    return lambda: model(inputs)


def openvino_bf16(path: Path, image: np.ndarray, threads: int) -> Callable[[], object]:
    """Opens an ONNX file in OpenVINO, which computes in bfloat16."""
    return openvino(path, image, threads, "bf16")


OPENERS: dict[str, Callable[[Path, np.ndarray, int], Callable[[], object]]] = {
    "file": exported,
    "keras": keras_model,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "openvino-bf16": openvino_bf16,
}


def _as_input(image: np.ndarray, type_name: str) -> np.ndarray:
    """Converts an image: our files take uint8 NHWC, the reference's float32 NCHW."""
    if "u8" in type_name or "uint8" in type_name:
        return image
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2), np.float32)


def main() -> None:
    kind, path = sys.argv[1], Path(sys.argv[2])
    height, width, threads = map(int, sys.argv[3:])
    shape = (1, height, width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    interpreter = str(format_of(path)) if kind == "file" else kind
    serve_candidate(
        INTERPRETERS[interpreter], partial(OPENERS[kind], path, image, threads)
    )


if __name__ == "__main__":
    main()
