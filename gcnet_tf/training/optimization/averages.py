"""Averages of the weights over time, which some optimisers keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from gcnet_tf import compat


def begun_averages(optimizer: Any, model: keras.Model) -> list[Any]:
    """Returns the average of each trainable weight; [] before averaging has begun.

    Some optimisers begin late, and their averages are zeros until then.
    """
    averages = compat.averages(optimizer, model.trainable_weights)
    return averages if any(np.any(average.numpy()) for average in averages) else []


def restart_averages(optimizer: Any, model: keras.Model) -> None:
    """Sets the averages to the current weights, which have just been loaded."""
    averages = begun_averages(optimizer, model)
    for average, weight in zip(averages, model.trainable_weights):
        average.assign(weight.numpy())


@contextmanager
def averaged(optimizer: Any, model: keras.Model) -> Iterator[None]:
    """Replaces the model's weights by their averages, and restores them at the end.

    The running statistics of the normalisations are not replaced.
    """
    weights = model.trainable_weights
    averages = begun_averages(optimizer, model)
    saved_values = [weight.numpy() for weight, _ in zip(weights, averages)]
    try:
        for weight, average in zip(weights, averages):
            weight.assign(average.numpy())
        yield
    finally:
        for weight, value in zip(weights, saved_values):
            weight.assign(value)
