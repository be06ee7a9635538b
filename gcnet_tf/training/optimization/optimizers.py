"""Optimiser as in the reference (PyTorch's SGD), or one of Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import Config, TrainConfig
from gcnet_tf.errors import UserError
from gcnet_tf.extensions.named import make
from gcnet_tf.training.optimization.schedules import Schedule, make_schedule

# Last parts of the names of weights that have no decay where norms and biases have
# none.
NORMS_AND_BIASES = ("gamma", "beta", "bias")


@keras.saving.register_keras_serializable("gcnet_tf")
class CoupledSGD(compat.Optimizer):
    """SGD with momentum and coupled weight decay, as in PyTorch.

        gradient += decay * weight
        velocity  = momentum * velocity + gradient
        weight   -= learning_rate * velocity

    Keras' own SGD differs in two ways: its velocity contains the learning rate, which
    matters as soon as the rate changes, and its weight decay bypasses the momentum.

    Args:
        learning_rate: a number or a schedule.
        momentum: factor on the velocity in each step.
        decay: weight decay.
        rates: schedules of parts of the model that do not follow `learning_rate`, by
            the part's name, such as "decode_head".
        undecayed: last parts of the names of weights without decay; all others have it,
            as in PyTorch, biases and normalisations included.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        decay: float = 5e-4,
        rates: Mapping[str, Any] | None = None,
        undecayed: Sequence[str] = (),
        name: str = "coupled_sgd",
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.decay = decay
        self.undecayed = list(undecayed)
        self.rates = {
            part: (
                keras.optimizers.schedules.deserialize(rate)
                if isinstance(rate, dict)
                else rate
            )
            for part, rate in (rates or {}).items()
        }

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, "velocity")
            for variable in variables
        ]
        # Collected here, because the TensorFlow variables that `update_step` gets have
        # no path.
        self.paths = [variable.path for variable in variables]
        self.rate_of = [self._own_rate(path) for path in self.paths]
        self.decay_of = [
            0.0 if path.rpartition("/")[2] in self.undecayed else self.decay
            for path in self.paths
        ]

    def _own_rate(self, path: str) -> Any:
        rates = [self.rates[part] for part in path.split("/") if part in self.rates]
        return rates[0] if rates else None

    def named_variables(self) -> dict[str, Any]:
        """Returns the variables by names that are the same on both stacks."""
        names = [f"velocity/{path.split('/', 1)[1]}" for path in self.paths]
        return {"iterations": self.iterations, **dict(zip(names, self.velocities))}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        velocity = self.velocities[index]
        gradient = tf.cast(gradient, variable.dtype)
        # Else a graph computes the products as soon as a step begins, of all weights.
        with tf.control_dependencies([gradient]):
            gradient += self.decay_of[index] * tf.convert_to_tensor(variable)
        if (schedule := self.rate_of[index]) is not None:
            # As for `learning_rate`: `iterations` leaves out those that accumulate.
            learning_rate = schedule(self._iterations)
        # One pass over memory; as operations of their own they are five.
        tf.raw_ops.ResourceApplyMomentum(
            var=_handle(variable),
            accum=_handle(velocity),
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.constant(self.momentum, variable.dtype),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "decay": self.decay,
            "undecayed": self.undecayed,
            "rates": {
                part: keras.optimizers.schedules.serialize(rate)
                for part, rate in self.rates.items()
            },
        }


def _handle(variable: Any) -> tf.Tensor:
    """Returns the handle of a variable of TensorFlow or of Keras 3."""
    return (variable if hasattr(variable, "handle") else variable.value).handle


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Returns all variables of a built optimiser by name.

    The variables of CoupledSGD are named after the weights. The names of other
    optimisers differ between the two stacks, so that neither stack loads a state that
    the other has written.
    """
    inner = compat.without_loss_scale(optimizer)
    named = inner.named_variables() if isinstance(inner, CoupledSGD) else {}
    names = {id(variable): name for name, variable in named.items()}
    return {
        names.get(id(variable))
        or f"{index:05d}_{compat.variable_name(variable)}": (variable)
        for index, variable in enumerate(compat.optimizer_variables(optimizer))
    }


def make_optimizer(config: Config) -> tuple[Schedule, keras.optimizers.Optimizer]:
    """Makes the schedule of the learning rate and the optimiser of `config`.

    Raises:
        UserError: when a named optimizer cannot be made, or lacks what a setting needs.
    """
    settings = config.train
    base = make_schedule(settings)
    if settings.optimizer is None:
        optimizer = _sgd(settings, base)
    else:
        arguments = {"learning_rate": base}
        named = asdict(settings.optimizer)
        optimizer = make("optimizer", named, "train.optimizer", arguments)
        base.accumulated = getattr(optimizer, "gradient_accumulation_steps", None) or 1
        if not settings.norm_bias_decay:
            _leave_out_of_decay(optimizer)
    if settings.precision == "mixed_float16":
        optimizer = compat.with_loss_scale(optimizer)
    return base, optimizer


def _sgd(settings: TrainConfig, base: Schedule) -> Any:
    rates = {}
    if settings.head_lr_multiplier != 1:
        head = make_schedule(settings, settings.head_lr_multiplier)
        rates = {"decode_head": head, "auxiliary_head": head}
    average: dict[str, Any] = {}
    if settings.ema_momentum is not None:
        average = {"use_ema": True, "ema_momentum": settings.ema_momentum}
    return CoupledSGD(
        base,
        settings.momentum,
        settings.weight_decay,
        rates,
        () if settings.norm_bias_decay else NORMS_AND_BIASES,
        global_clipnorm=settings.clip_norm,
        **average,
    )


def _leave_out_of_decay(optimizer: Any) -> None:
    """Leaves norms and biases out of the weight decay of an optimizer of Keras."""
    if getattr(optimizer, "weight_decay", None) is None:
        raise UserError(
            f"train.norm_bias_decay: received false, but {type(optimizer).__name__} of "
            "train.optimizer has no weight_decay of Keras; add one to its config, or "
            "use true."
        )
    optimizer.exclude_from_weight_decay(var_names=list(NORMS_AND_BIASES))
