"""Optimisers on both stacks.

They come in three forms: that of Keras 3, that of Keras 2.15, and the older one that
2.15 calls "legacy", in which all those of tensorflow-addons are written.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat.layers import weights_by_path
from gcnet_tf.compat.versions import KERAS_3


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


class _OwnCopies(keras.optimizers.Optimizer):
    """Steps in which each replica updates its own copies of all variables.

    It comes between an optimiser's class and Keras' base class, whose own steps clip
    the gradients of each replica before they are summed, and leave the replica inside
    conditions, which TensorFlow refuses ("`merge_call` called while defining a new
    graph"). With gradients that are summed already, all replicas do the same, and none
    of them needs the others. This is how Keras steps on its other backends.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables):
            self.update_step(gradient, variable.value, learning_rate)

    def _apply_weight_decay(self, variables):
        for variable in variables if self.weight_decay is not None else ():
            if self._use_weight_decay(variable):
                rate = tf.cast(self.learning_rate, variable.dtype)
                decay = tf.cast(self.weight_decay, variable.dtype)
                self.assign_sub(variable, variable.value * decay * rate)

    def _backend_increment_gradient_accumulators(self, grads, acc_grads):
        for gradient, accumulated in zip(grads, acc_grads):
            self.assign_add(accumulated, gradient)

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages):
            self.assign(variable, average)


def _update_own_copies(optimizer: Any) -> None:
    """Inserts `_OwnCopies` into the classes of an optimiser and of those inside it."""
    for value in list(vars(optimizer).values()):
        if isinstance(value, keras.optimizers.Optimizer):
            _update_own_copies(value)
    cls = type(optimizer)
    if not issubclass(cls, _OwnCopies):
        optimizer.__class__ = type(cls.__name__, (cls, _OwnCopies), {})


def build_optimizer(optimizer: Any, model: keras.Model) -> None:
    """Makes the optimiser's variables for the model's trainable weights."""
    if KERAS_3:
        _update_own_copies(optimizer)
    else:
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
    """Makes one step with the sum of the replicas' gradients of the scaled loss.

    Whatever the optimiser does with gradients, such as clipping or asking whether they
    overflowed, it does with the sum, so that all replicas do the same.
    """
    if KERAS_3:
        replica = tf.distribute.get_replica_context()
        known = [gradient for gradient in gradients if gradient is not None]
        sums = iter(replica.all_reduce("SUM", known))
        # Keras warns about the others.
        summed = [None if gradient is None else next(sums) for gradient in gradients]
        optimizer.apply(summed, weights)
        return
    if without_loss_scale(optimizer) is not optimizer:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, weights))  # sums first


def num_steps(optimizer: Any) -> tf.Tensor:
    """Returns the step that schedules get next, without waiting for the device.

    All batches whose gradients are accumulated count. Steps that a loss scale skips
    count in Keras 2.15, and not in Keras 3.
    """
    inner = without_loss_scale(optimizer)
    count = inner.iterations if _is_legacy(inner) else inner._iterations
    return tf.convert_to_tensor(count)


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
