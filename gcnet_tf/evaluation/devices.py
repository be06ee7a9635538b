"""A model on every device of this worker, for evaluations and many predictions.

Calls from several threads are spread over the devices. Each device computes whole
calls, so that nothing depends on their number: not the batches, and no order of sums.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import tensorflow as tf

from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import fold, folded_function


def local_devices() -> tuple[str, ...]:
    """Lists the devices of this machine that compute networks: GPUs, or else the CPU.

    The CPU is one, because a network takes all of its cores.
    """
    gpus = tf.config.list_logical_devices("GPU")
    return tuple(gpu.name for gpu in gpus) or ("CPU:0",)


class DeviceCopies:
    """The folded model with the weights of one moment, on several devices.

    A call goes to the device with the fewest, and of those to the first. So a single
    thread uses that one alone, and another gets its copy when a call comes for it.
    """

    def __init__(self, model: Segmentor, devices: Sequence[str]):
        """Folds the model, and places the first copy.

        Args:
            model: a built model; later training does not reach the copies.
            devices: names, such as "GPU:0".
        """
        with tf.device(devices[0]):
            folded = fold(model, winograd=model.winograd)
            self._config = folded.get_config()
            # The first copy does not keep the weights in this form.
            self._weights = [
                weight.numpy() for weight in folded.weights if len(devices) > 1
            ]
            first = _Copy(devices[0], folded)
        self.first_logits = first.run_logits
        self._copies: list[_Copy | None] = [first, *[None] * (len(devices) - 1)]
        self._devices = devices
        self._busy = [0] * len(devices)
        self._lock = threading.Lock()
        self._placing = [threading.Lock() for _ in devices]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Computes logits (batch, height, width, num_classes) of uint8 images."""
        with self._free_copy() as copy:
            return copy.run_logits(images).numpy()

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Computes class ids (batch, height, width), uint8, of uint8 images."""
        with self._free_copy() as copy:
            return copy.run_labels(images).numpy()

    @contextmanager
    def _free_copy(self) -> Iterator["_Copy"]:
        with self._lock:
            index = self._busy.index(min(self._busy))
            self._busy[index] += 1
        try:
            yield self._copy(index)
        finally:
            with self._lock:
                self._busy[index] -= 1

    def _copy(self, index: int) -> "_Copy":
        with self._placing[index]:
            copy = self._copies[index]
            if copy is None:
                copy = self._copies[index] = self._placed(self._devices[index])
                if None not in self._copies:
                    self._weights = []
        return copy

    def _placed(self, device: str) -> "_Copy":
        with tf.device(device):
            folded = Segmentor.from_config(self._config)
            folded.build((None, None, None, 3))
            for weight, value in zip(folded.weights, self._weights):
                weight.assign(value)
            return _Copy(device, folded)


class _Copy:
    """The functions of a folded model on a device."""

    def __init__(self, device: str, folded: Segmentor):
        self._device = device
        self._logits = folded_function(folded)

    @cached_property
    def _labels(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The function to labels, which is traced, and takes memory, when needed."""

        def labels(images: tf.Tensor) -> tf.Tensor:
            ids = tf.argmax(self._logits(images), axis=-1, output_type=tf.int32)
            return tf.cast(ids, tf.uint8)

        # Concrete: TensorFlow would warn of as many tracings as there are devices.
        any_images = tf.TensorSpec([None, None, None, 3], tf.uint8)
        return tf.function(labels, autograph=False).get_concrete_function(any_images)

    def run_logits(self, images: np.ndarray) -> tf.Tensor:
        with tf.device(self._device):
            return self._logits(tf.constant(images))

    def run_labels(self, images: np.ndarray) -> tf.Tensor:
        with tf.device(self._device):
            return self._labels(tf.constant(images))
