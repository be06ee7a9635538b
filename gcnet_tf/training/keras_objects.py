"""Metrics, callbacks and layers of Keras that a configuration names for training."""

import inspect
from collections.abc import Callable
from dataclasses import asdict

import keras
import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.extensions.named import make


class NamedMetrics:
    """The metrics that train.metrics names, over the images of an evaluation."""

    def __init__(self, config: Config):
        self._metrics = [
            make("metric", asdict(named), f"train.metrics[{index}]")
            for index, named in enumerate(config.train.metrics)
        ]

    def reset(self) -> None:
        """Forgets all images."""
        for metric in self._metrics:
            metric.reset_state()

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Adds an image: class ids `(height, width)`, true and predicted ones."""
        if self._metrics:
            labelled = truth != IGNORE_LABEL
            truth, predicted = (
                ids[labelled].astype(np.int32) for ids in (truth, predicted)
            )
        for metric in self._metrics:
            metric.update_state(truth, predicted)

    def results(self) -> dict[str, float]:
        """Returns each metric's result by name; several results get numbered names."""
        results = {}
        for metric in self._metrics:
            values = np.asarray(metric.result(), np.float64)
            if values.ndim == 0:
                results[metric.name] = float(values)
            else:
                for index, value in enumerate(values.ravel()):
                    results[f"{metric.name}_{index}"] = float(value)
        return results


def named_callbacks(config: Config) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that train.callbacks names."""
    return [
        make("callback", asdict(named), f"train.callbacks[{index}]")
        for index, named in enumerate(config.train.callbacks)
    ]


def colour_layer(
    config: Config,
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """Makes the augmentation of augment.layer, from images and seeds to images."""
    named = config.augment.layer
    if named is None:
        return None
    layer = make("layer", asdict(named), "augment.layer")
    accepted = inspect.signature(layer.call).parameters
    if "seeds" in accepted:
        return layer
    training = {"training": True} if "training" in accepted else {}

    def changed(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        # Layers of Keras return floats, and some accept nothing else.
        values = layer(tf.cast(images, tf.float32), **training)
        values = tf.clip_by_value(tf.cast(values, tf.float32), 0.0, 255.0)
        return tf.cast(tf.round(values), tf.uint8)

    return changed
