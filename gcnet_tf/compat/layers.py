"""Layers, models and weights files on both stacks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

from gcnet_tf.compat.versions import KERAS_3

DTypePolicy: Any = keras.DTypePolicy if KERAS_3 else keras.mixed_precision.Policy


def unchanging_dtype() -> dict[str, Any]:
    """Returns arguments of `add_weight` that keep the type under a mixed policy."""
    return {"autocast": False} if KERAS_3 else {"experimental_autocast": False}


def first_replicas_value() -> dict[str, Any]:
    """Returns arguments of `add_weight` for a weight that all replicas set alike."""
    if KERAS_3:
        return {"aggregation": "only_first_replica"}
    return {"aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}


def model_config(model: keras.Model, config: dict[str, Any]) -> dict[str, Any]:
    """Adds what Keras 2.15 leaves out to the result of `keras.Model.get_config`."""
    if KERAS_3:
        return config
    return {
        "name": model.name,
        "trainable": model.trainable,
        "dtype": keras.mixed_precision.Policy(model.dtype_policy.name),
    }


def weights_by_path(layer: keras.layers.Layer) -> dict[str, Any]:
    """Returns the weights by their path in a built layer, as in "stem1/conv/kernel"."""
    if KERAS_3:
        prefix = f"{layer.path}/"
        return {weight.path.removeprefix(prefix): weight for weight in layer.weights}
    weights = {}
    for path, sublayer in _walk(layer):
        for weight in _own_weights(sublayer):
            name = weight.name.rpartition("/")[2].removesuffix(":0")
            weights["/".join([*path, name])] = weight
    return weights


def plain_variables(layer: keras.layers.Layer) -> list[tf.Variable]:
    """Returns TensorFlow's own variables of a built layer.

    Around each, Keras 3 has one of its kind. A SavedModel of those holds all variables
    twice, and a session, as TensorFlow Serving has one, reads values into those that
    no signature uses.
    """
    return [v.value if KERAS_3 else v for v in layer.variables]


def _walk(layer: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    """Yields a layer of Keras 2.15 and all inside it, with the names on each path."""
    yield path, layer
    for child in layer._flatten_layers(recursive=False, include_self=False):
        yield from _walk(child, (*path, child.name))


def _own_weights(layer: Any) -> list[Any]:
    """Returns a layer's own weights in the order in which both versions save them."""
    return layer._trainable_weights + layer._non_trainable_weights


def added_losses(model: keras.Model, output: tf.Tensor) -> list[tf.Tensor]:
    """Returns the losses of regularisers and `add_loss` after a call of the model.

    Args:
        model: the model.
        output: what it returned, whose type they get. In Keras 3 the replicas share
            the list of losses that layers add while they are called; the device tells
            which are those of the call (where a layer synchronises, they alternate).
    """
    losses = [loss for loss in model.losses if loss.device == output.device]
    return [tf.cast(loss, output.dtype) for loss in losses]


def lend_optimizer(model: keras.Model, optimizer: Any) -> None:
    """Makes an optimiser the model's attribute, for callbacks; None changes nothing.

    It does not become a part of the model, as an assignment would make it.
    """
    if optimizer is not None:
        vars(model)["optimizer"] = optimizer


# Weights files. Both stacks write and read the format of Keras 3: Keras 2.15 by itself
# numbers layers where Keras 3 names them.


def _groups(layer: Any, group: str = "") -> Iterator[tuple[str, Any]]:
    """Yields a layer of Keras 2.15 and all inside it, each with its group in a file."""
    yield f"{group}vars", layer
    names = _stem_names(layer)
    for child in layer._flatten_layers(recursive=False, include_self=False):
        yield from _groups(child, f"{group}{names.get(child.name, child.name)}/")


def _stem_names(layer: Any) -> dict[str, str]:
    """Names the layers of a backbone's `stem` as Keras 3 does: by class and number."""
    names: dict[str, str] = {}
    for child in getattr(layer, "stem", ()):
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(child).__name__).lower()
        count = sum(name.startswith(f"stem/{kind}") for name in names.values())
        names[child.name] = f"stem/{kind}_{count}" if count else f"stem/{kind}"
    return names


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes a `.weights.h5` file."""
    if KERAS_3:
        # Keras 3 writes `model.optimizer` as well, see `lend_optimizer`.
        optimizer = vars(model).pop("optimizer", None)
        try:
            model.save_weights(path)
        finally:
            lend_optimizer(model, optimizer)
        return
    with h5py.File(path, "w") as file:
        for group_path, layer in _groups(model):
            group = file.create_group(group_path)
            for index, weight in enumerate(_own_weights(layer)):
                group[str(index)] = weight.numpy()


def load_weights(model: keras.Model, path: Path) -> None:
    """Reads a `.weights.h5` file.

    Raises:
        OSError, ValueError, KeyError: when it is damaged or of another model. (Keras 3
            only warns about some layers that a file lacks.)
    """
    if KERAS_3:
        model.load_weights(path)
        return
    values = []
    with h5py.File(path) as file:
        for group_path, layer in _groups(model):
            if not (weights := _own_weights(layer)):
                continue
            group = file[group_path]
            if len(group) != len(weights):
                raise ValueError(f"{group.name} holds {len(group)} weights")
            for index, weight in enumerate(weights):
                value = group[str(index)]
                if value.shape != tuple(weight.shape):
                    raise ValueError(f"{value.name} has the shape {value.shape}")
                values.append((weight, value[()]))
    for weight, value in values:
        weight.assign(value)
