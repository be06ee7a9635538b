"""Averages of the weights over time, which some optimisers keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from gcnet_tf import compat


def begun_averages(optimizer: Any, model: keras.Model) -> list[Any]:
    """The average of each trainable weight; empty before there are any.

    Some optimisers begin late and hold zeros until then.
    """
    averages = compat.averages(optimizer, model.trainable_weights)
    return averages if any(np.any(each.numpy()) for each in averages) else []


def restart_averages(optimizer: Any, model: keras.Model) -> None:
    """Lets averages begin with the weights of now, which were loaded meanwhile."""
    averages = begun_averages(optimizer, model)
    for average, weight in zip(averages, model.trainable_weights):
        average.assign(weight.numpy())


@contextmanager
def averaged(optimizer: Any, model: keras.Model) -> Iterator[None]:
    """Gives the model the averages in place of its weights; at the end it is as before.

    The running statistics of the normalisations stay as they are.
    """
    weights = model.trainable_weights
    averages = begun_averages(optimizer, model)
    kept = [weight.numpy() for weight, _ in zip(weights, averages)]
    try:
        for weight, average in zip(weights, averages):
            weight.assign(average.numpy())
        yield
    finally:
        for weight, value in zip(weights, kept):
            weight.assign(value)
