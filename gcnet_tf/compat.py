"""The one place that asks which Keras this is: 3 on TensorFlow 2.21, or 2.15 on 2.15.

All other code calls these functions and is written once for both stacks. The second
stack exists for tensorflow-addons, see `gcnet_tf.extensions.addons`. This module also
asks which kernels TensorFlow lacks on this machine.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3

# From TensorFlow 2.16 on, tensorflow-addons cannot be imported.
MAY_HAVE_ADDONS = not KERAS_3

DTypePolicy: Any = keras.DTypePolicy if KERAS_3 else keras.mixed_precision.Policy


@contextmanager
def without_farewell() -> Iterator[None]:
    """Hides the warning of tensorflow-addons, on import, about its end of life.

    Users who name it in a configuration have chosen the stack that exists for it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended")
        yield


# TensorFlow's kernels. On x86 processors TensorFlow chooses oneDNN's by itself only
# where there are instructions for neural networks (AVX-512 VNNI, AVX-VNNI, bf16, AMX).
# A processor with AVX2 alone behaves like any other one under TF_ENABLE_ONEDNN_OPTS=0.


@cache
def has_dilated_gradient(dtype: tf.DType) -> bool:
    """Tells whether `tf.nn.conv2d` has a gradient when dilated (tensorflow#28264).

    On a CPU only oneDNN's kernels have this gradient: never for float64, and for 16-bit
    types only where the processor supports them. On a GPU all kernels have it.
    """
    with tf.init_scope():
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 3, 3, 1],
                filter=tf.ones([3, 3, 1, 1], dtype),
                out_backprop=tf.ones([1, 3, 3, 1], dtype),
                strides=[1, 1, 1, 1],
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except tf.errors.OpError:
            return False
    return True


def lacking(dtype: tf.DType) -> str:
    """Describes the computation that is slower on this machine; "" where none is."""
    if has_dilated_gradient(dtype):
        return ""
    return (
        f"TensorFlow has no gradient of dilated {dtype.name} convolutions here (its "
        "oneDNN kernels are off, or lack the type): they go by space-to-batch, slower"
    )


# Layers and models


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


def _walk(layer: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple, Any]]:
    """Yields a layer of Keras 2.15 and all inside it, with the names on each path."""
    yield path, layer
    for child in layer._flatten_layers(recursive=False, include_self=False):
        yield from _walk(child, (*path, child.name))


def _own_weights(layer: Any) -> list[Any]:
    """Returns a layer's own weights in the order in which both versions save them."""
    return layer._trainable_weights + layer._non_trainable_weights


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
        model.save_weights(path)
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


# Optimisers come in three forms: that of Keras 3, that of Keras 2.15, and the older one
# that 2.15 calls "legacy", in which all those of tensorflow-addons are written.


class _Keras2Optimizer(keras.optimizers.Optimizer):
    """The base class of our optimisers on 2.15, with the interface of Keras 3."""

    def __init__(self, learning_rate, name: str, **kwargs):
        super().__init__(name=name, jit_compile=False, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    @property
    def built(self) -> bool:
        return getattr(self, "_built", False)

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        self._built = True

    def _update_step(self, gradient, variable):
        self.update_step(gradient, variable, self.learning_rate)

    def _get_variable_index(self, variable) -> int:
        return self._index_dict[self._var_key(variable)]

    def assign(self, variable, value) -> None:
        variable.assign(value)

    def assign_sub(self, variable, value) -> None:
        variable.assign_sub(value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Our optimisers do not take these arguments.
        for name in ("jit_compile", "is_legacy_optimizer"):
            del config[name]
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**config, "learning_rate": rate}


Optimizer: Any = keras.optimizers.Optimizer if KERAS_3 else _Keras2Optimizer


def _is_legacy(optimizer: Any) -> bool:
    return not KERAS_3 and isinstance(optimizer, keras.optimizers.legacy.Optimizer)


# The base classes of all optimisers.
OPTIMIZERS: tuple[type, ...] = (keras.optimizers.Optimizer,)
if not KERAS_3:
    OPTIMIZERS = (*OPTIMIZERS, keras.optimizers.legacy.Optimizer)


def with_loss_scale(optimizer: Any) -> Any:
    """Wraps an optimiser with dynamic loss scaling, for float16."""
    if KERAS_3:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return keras.mixed_precision.LossScaleOptimizer(optimizer)


def without_loss_scale(optimizer: Any) -> Any:
    """Unwraps the optimiser of `with_loss_scale`; returns any other one unchanged."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def build_optimizer(optimizer: Any, model: keras.Model) -> None:
    """Makes the optimiser's variables for the model's trainable weights."""
    if not KERAS_3:
        for path, weight in weights_by_path(model).items():
            weight.path = f"{model.name}/{path}"  # as in Keras 3
    if _is_legacy(optimizer):
        optimizer.iterations  # reading it makes the variable
        optimizer._create_all_weights(model.trainable_weights)
    else:
        optimizer.build(model.trainable_weights)


def scale_loss(optimizer: Any, loss: tf.Tensor) -> tf.Tensor:
    """Multiplies the loss by the loss scale, if any, before it is differentiated."""
    if KERAS_3:
        return optimizer.scale_loss(loss)
    if without_loss_scale(optimizer) is not optimizer:
        return optimizer.get_scaled_loss(loss)
    return loss


def apply_gradients(
    optimizer: Any, gradients: Sequence[tf.Tensor], weights: Sequence[Any]
) -> None:
    """Makes one step, with the replicas' summed gradients of the scaled loss."""
    if KERAS_3:
        optimizer.apply(gradients, weights)
        return
    if without_loss_scale(optimizer) is not optimizer:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, weights))


def skips_by_own_gradients(optimizer: Any) -> bool:
    """Tells whether each replica decides alone if a step overflowed, as in Keras 3."""
    return KERAS_3 and without_loss_scale(optimizer) is not optimizer


def optimizer_variables(optimizer: Any) -> list[Any]:
    """Lists all variables of an optimiser, with those of its loss scale."""
    if KERAS_3:
        return list(optimizer.variables)
    inner = without_loss_scale(optimizer)
    variables = list(inner.weights if _is_legacy(inner) else inner.variables)
    if inner is optimizer:
        return variables
    scale = optimizer._loss_scale
    return [scale.counter, scale.current_loss_scale, *variables]


def variable_name(variable: Any) -> str:
    """Returns the last part of a variable's name; on 2.15 it ends with ":0"."""
    return (variable.path if KERAS_3 else variable.name).rpartition("/")[2]


def averages(optimizer: Any, weights: Sequence[Any]) -> list[Any]:
    """Returns the average of each weight over time; [] where none is kept."""
    inner = without_loss_scale(optimizer)
    if not _is_legacy(inner):
        return list(inner._model_variables_moving_average) if inner.use_ema else []
    if "average" not in inner.get_slot_names():
        return []
    return [inner.get_slot(weight, "average") for weight in weights]


def write_event(writer: tf.summary.SummaryWriter, event: tf.compat.v1.Event) -> None:
    """Writes an event of TensorBoard, of which `tf.summary` makes only some kinds."""
    tf.raw_ops.ImportEvent(writer=writer._resource, event=event.SerializeToString())
