"""The TFLite conversion, which runs in its own process.

The reason for the process is that TensorFlow's converter keeps memory after each call
and writes to stderr. The working folder holds job.json (`precision` and `outputs`), the
SavedModel `model`, which has a signature for each output and the signature ALL, and for
int8 images.npy, uint8 `(number, height, width, 3)`. The process writes OUTPUT.tflite
for each output there, or error.txt.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils

from gcnet_tf.errors import first_line
from gcnet_tf.export.tflite_graph import keep_output, set_input_range, stays_float

ALL = "all"
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
    if job["precision"] == "int8":
        calibrated = _calibrate(folder)
    for output in job["outputs"]:
        if job["precision"] == "int8":
            converted = _quantise(calibrated, output)
        else:
            converted = _convert(folder, job["precision"], output)
        (folder / f"{output}.tflite").write_bytes(converted)


def _converter(folder: Path, signature: str) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "model"), signature_keys=[signature]
    )
    # Without Flex operations, which phones lack: the conversion fails, not the phone.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def _convert(folder: Path, precision: str, output: str) -> bytes:
    converter = _converter(folder, output)
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _calibrate(folder: Path) -> bytes:
    """Makes the float model with the range of every tensor."""
    images = np.load(folder / "images.npy", mmap_mode="r")

    def representative() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[np.newaxis].astype(np.float32)]
            print(CALIBRATED, flush=True)

    converter = _converter(folder, ALL)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    # tf.lite.experimental.QuantizationDebugger does the same. It can also keep parts in
    # float, but it would convert a second time and make a float input.
    converter._experimental_calibrate_only = True
    return converter.convert()


def _quantise(calibrated: bytes, output: str) -> bytes:
    """Quantises a calibrated model, and keeps only one of its outputs."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(calibrated))
    keep_output(model, output)
    set_input_range(model, 0, 255)
    return mlir_quantize(
        flatbuffer_utils.convert_object_to_bytearray(model),
        input_data_type=tf.uint8,
        denylisted_nodes=stays_float(model),
    )
