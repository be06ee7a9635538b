"""Metrics, callbacks and layers of Keras that a configuration names for training."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict

import keras
import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.extensions.classes import is_of_keras
from gcnet_tf.extensions.named import make
from gcnet_tf.training.trackers import Tracker


class NamedMetrics:
    """The metrics that train.metrics names, over the images of an evaluation.

    Raises:
        UserError: when one of them fails with class ids.
    """

    def __init__(self, config: Config):
        self._metrics: dict[str, keras.metrics.Metric] = {}
        for index, named in enumerate(config.train.metrics):
            metric = make("metric", asdict(named), f"train.metrics[{index}]")
            self._metrics[self._name(metric, "name" in named.config)] = metric
            _try(metric, f"train.metrics[{index}]")

    def _name(self, metric: keras.metrics.Metric, is_given: bool) -> str:
        """Returns a name that is the same in every process, and no other metric's.

        Keras numbers the second object of a class, wherever it was made.
        """
        stem = re.sub(r"_[0-9]+$", "", metric.name)
        if is_given or stem.replace("_", "") != type(metric).__name__.lower():
            stem = metric.name
        name, count = stem, 0
        while name in self._metrics:
            count += 1
            name = f"{stem}_{count}"
        return name

    def reset(self) -> None:
        """Forgets all images."""
        for metric in self._metrics.values():
            metric.reset_state()

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Adds an image: class ids `(height, width)`, true and predicted ones."""
        if self._metrics:
            labelled = truth != IGNORE_LABEL
            truth, predicted = (
                ids[labelled].astype(np.int32) for ids in (truth, predicted)
            )
        for metric in self._metrics.values():
            metric.update_state(truth, predicted)

    def results(self) -> dict[str, float]:
        """Returns each metric's result by name; several results get numbered names."""
        results = {}
        for name, metric in self._metrics.items():
            values = np.asarray(metric.result(), np.float64)
            if values.ndim == 0:
                results[name] = float(values)
            else:
                for index, value in enumerate(values.ravel()):
                    results[f"{name}_{index}"] = float(value)
        return results


def _try(metric: keras.metrics.Metric, setting: str) -> None:
    """Computes a metric of a few pixels, so that it does not fail after hours."""
    try:
        metric.update_state(
            np.array([0, 1, 1], np.int32), np.array([0, 1, 0], np.int32)
        )
        np.asarray(metric.result(), np.float64)
        metric.reset_state()
    # A class of the user may raise any exception.
    except Exception as error:
        raise UserError(
            f"{setting}: {type(metric).__name__} fails with class ids, true and "
            f"predicted ones of each labelled pixel: {first_line(error)}. Name a class "
            "of your own that calls it with what it needs (docs/addons.md)."
        ) from error


def named_callbacks(config: Config) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that train.callbacks names."""
    return [
        make("callback", asdict(named), f"train.callbacks[{index}]")
        for index, named in enumerate(config.train.callbacks)
    ]


# Callbacks of Keras that cannot work here, and what does their work.
_RATE = (
    "sets the learning rate, which follows train.schedule, learning_rate and "
    "min_learning_rate"
)
_REFUSED = {
    "LearningRateScheduler": _RATE,
    "ReduceLROnPlateau": _RATE,
    "BackupAndRestore": "restores its own backup, as --resume does with checkpoints",
    "SwapEMAWeights": (
        "swaps the weights that are trained; evaluations and best.weights.h5 use the "
        "averages of train.optimizer already"
    ),
}


def check_callbacks(
    config: Config, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """Checks the callbacks of the configuration, and others, before a training.

    Raises:
        UserError: when one would fail, or do nothing, at its first evaluation.
    """
    logs = ["loss", "decode_loss", "auxiliary_loss"]
    if config.model.head.context_layer is not None:
        logs.append("regularization_loss")
    logs += [f"val_{name}" for name in ("mIoU", *NamedMetrics(config).results())]
    for index, callback in enumerate(named_callbacks(config)):
        if isinstance(callback, Tracker):
            callback.require_package(f"train.callbacks[{index}]")
        _check_callback(callback, f"train.callbacks[{index}]", logs)
        # Keras 2.15 forgets the mode, and takes any but accuracies for a loss.
        mode = config.train.callbacks[index].config.get("mode", "auto")
        if is_of_keras(type(callback)):
            _check_mode(callback, f"train.callbacks[{index}]", mode)
    for callback in callbacks:
        _check_callback(callback, "callbacks", logs)


def _check_callback(
    callback: keras.callbacks.Callback, place: str, logs: Sequence[str]
) -> None:
    for cls in filter(is_of_keras, type(callback).__mro__):
        if cls.__name__ in _REFUSED:
            raise UserError(
                f"{place}: {type(callback).__name__} {_REFUSED[cls.__name__]}; leave "
                "it out."
            )
    if _monitors(callback) and callback.monitor not in logs:
        raise UserError(
            f"{place}: {type(callback).__name__} received monitor={callback.monitor!r};"
            f" allowed: {', '.join(logs)}."
        )
    _check_mode(callback, place, getattr(callback, "mode", ""))


def _check_mode(callback: keras.callbacks.Callback, place: str, mode: str) -> None:
    if _monitors(callback) and mode == "auto" and callback.monitor != "loss":
        raise UserError(
            f"{place}: {type(callback).__name__} cannot know whether "
            f'{callback.monitor} should grow; add mode: "max" or "min".'
        )


def _monitors(callback: keras.callbacks.Callback) -> bool:
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return callback.save_best_only
    return isinstance(callback, keras.callbacks.EarlyStopping)


def sees_iterations(callback: keras.callbacks.Callback) -> bool:
    """Tells whether a callback is called with the losses of each iteration."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint):
        return callback.save_freq != "epoch"
    return any(
        getattr(getattr(callback, name), "__func__", None)
        is not getattr(keras.callbacks.Callback, name)
        for name in ("on_batch_end", "on_train_batch_end")
    )


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
