"""The TFLite conversion, which runs in its own process.

The reason for the process is that TensorFlow's converter keeps memory after each call
and writes to stderr. The working folder holds job.json (`precision` and `outputs`), the
SavedModel `model`, which has a signature for each output and the signature ALL, and for
8 bits images.npy, uint8 `(number, height, width, 3)`. The process writes OUTPUT.tflite
for each output there, or error.txt.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils

from gcnet_tf.errors import first_line
from gcnet_tf.export.tflite.graph import keep_output
from gcnet_tf.export.tflite.quantise import SIGNATURE, quantised

# The precisions with ranges from images.
CALIBRATED_PRECISIONS = ("int8", "full_int8")
ALL = SIGNATURE
# The line that is printed after each image of the calibration.
CALIBRATED = "calibrated one image"


def run(folder: str) -> None:
    """Runs the conversions that job.json in the folder describes."""
    try:
        _run(Path(folder))
    except Exception as error:
        (Path(folder) / "error.txt").write_text(first_line(error), encoding="utf-8")
        raise


def _run(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    precision, outputs = job["precision"], job["outputs"]
    if precision in CALIBRATED_PRECISIONS:
        # Calibrated once for all outputs; each image takes seconds.
        model = quantised(
            _convert(folder, "fp32", ALL),
            precision,
            np.load(folder / "images.npy", mmap_mode="r"),
            lambda: print(CALIBRATED, flush=True),
        )
        converted = {output: _with_one_output(model, output) for output in outputs}
    else:
        converted = {output: _convert(folder, precision, output) for output in outputs}
    for output, content in converted.items():
        (folder / f"{output}.tflite").write_bytes(content)


def _convert(folder: Path, precision: str, signature: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "model"), signature_keys=[signature]
    )
    # Without Flex operations, which phones lack: the conversion fails, not the phone.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _with_one_output(model: bytes, output: str) -> bytes:
    flat = flatbuffer_utils.read_model_from_bytearray(model)
    keep_output(flat, output)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(flat))
