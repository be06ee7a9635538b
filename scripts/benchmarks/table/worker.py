"""Worker that measures a number of the published table, and prints it in JSON.

python -m benchmarks.table.worker device
python -m benchmarks.table.worker memory CONFIG BATCH
python -m benchmarks.table.worker speed CONFIG IMAGES
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.table.rows import IMAGE_SIZES, STEPS, WARM_UP

# A convolution as in the head: 512 to 512 channels at 64x64.
_CHANNELS, _SIDE = 512, 64


def device() -> dict[str, Any]:
    """Returns the fields of `rows.Device`."""
    import tensorflow as tf

    from gcnet_tf.compat import tf32_text
    from gcnet_tf.processor import processor
    from gcnet_tf.training.distributed.devices import devices_text

    gpus = tf.config.list_physical_devices("GPU")
    name = devices_text(tf.distribute.get_strategy()) if gpus else processor()
    features = tf.zeros((1, _SIDE, _SIDE, _CHANNELS))
    kernel = tf.zeros((3, 3, _CHANNELS, _CHANNELS))

    @tf.function
    def convolve() -> tf.Tensor:
        return tf.reduce_sum(tf.nn.conv2d(features, kernel, 1, "SAME"))

    convolve().numpy()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1:
        convolve().numpy()
        count += 1
    seconds = (time.perf_counter() - start) / count
    return {
        "name": name,
        "is_gpu": bool(gpus),
        "rate": 9 * _CHANNELS**2 * _SIDE**2 / seconds,
        "arithmetic": tf32_text(),
    }


def memory(path: str, batch: int) -> dict[str, Any]:
    """Returns the peak memory of training steps, in bytes."""
    import tensorflow as tf

    from benchmarks.train.worker import step_function
    from gcnet_tf.config import load_config

    step = step_function(path, batch, load_config(path).augment.crop_size)
    try:
        for _ in range(STEPS):
            step()
    except tf.errors.ResourceExhaustedError:
        sys.exit(f"the memory does not hold a batch of {batch}")
    if tf.config.list_physical_devices("GPU"):
        return {"memory": tf.config.experimental.get_memory_info("GPU:0")["peak"]}
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def speed(path: str, images: int) -> dict[str, Any]:
    """Returns the images per second and the number of parameters."""
    import tensorflow as tf

    from benchmarks.drawn import drawn_model
    from gcnet_tf.config import load_config
    from gcnet_tf.evaluation.load import predictor_from_model

    config = load_config(path)
    model = drawn_model(config)
    size = IMAGE_SIZES[config.data.dataset]
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    try:
        predictor = predictor_from_model(model, config, fold_is_checked=True)
        seconds = _seconds(lambda: predictor(image), images)
    except tf.errors.ResourceExhaustedError:
        sys.exit("the memory does not hold an image")
    return {
        "fps": (images - WARM_UP) / seconds,
        "parameters": model.count_params(),
    }


def _seconds(predict: Callable[[], object], images: int) -> float:
    for _ in range(WARM_UP):
        predict()
    start = time.perf_counter()
    for _ in range(images - WARM_UP):
        predict()
    return time.perf_counter() - start


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    kind, *words = sys.argv[1:]
    if kind == "device":
        answer = device()
    else:
        path, number = words
        answer = {"memory": memory, "speed": speed}[kind](path, int(number))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
