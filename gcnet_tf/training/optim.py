"""SGD and learning rate in the reference's form (PyTorch's SGD, poly decay)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.extensions.named import make


@keras.saving.register_keras_serializable("gcnet_tf")
class PolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """lr(t) = (initial - minimum) * (1 - t / iterations) ** power + minimum.

    mmsegmentation 0.x, t = 0 … iterations - 1: the minimum is never quite reached.
    Computed in float64, because float32 is off by 1e-7 near the end.
    """

    def __init__(self, initial: float, minimum: float, iterations: int, power: float):
        self.initial = initial
        self.minimum = minimum
        self.iterations = iterations
        self.power = power

    def __call__(self, step):
        # Past the end, as after a schedule made shorter, the rate stays at its minimum.
        left = 1.0 - tf.cast(step, tf.float64) / self.iterations
        left = tf.maximum(left, tf.constant(0.0, tf.float64))
        return (self.initial - self.minimum) * left**self.power + self.minimum

    def get_config(self):
        return {
            "initial": self.initial,
            "minimum": self.minimum,
            "iterations": self.iterations,
            "power": self.power,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class CoupledSGD(compat.Optimizer):
    """SGD with momentum and coupled weight decay, as in PyTorch.

        gradient += decay * weight
        velocity  = momentum * velocity + gradient
        weight   -= learning_rate * velocity

    Keras' own SGD differs twice: its velocity contains the learning rate, which matters
    as soon as the rate changes, and its weight decay bypasses the momentum. The decay
    holds for every trainable weight, biases and normalisations included.

    Args:
        learning_rate: a number or a schedule.
        momentum: share of the velocity that stays.
        decay: weight decay.
        rates: part of the model ("decode_head"): the schedule of its weights, where it
            is not `learning_rate`.
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum: float = 0.9,
        decay: float = 5e-4,
        rates: Mapping[str, Any] | None = None,
        name: str = "coupled_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.decay = decay
        self.rates = {
            part: (
                keras.optimizers.schedules.deserialize(rate)
                if isinstance(rate, dict)
                else rate
            )
            for part, rate in (rates or {}).items()
        }

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, "velocity")
            for variable in variables
        ]
        # Found here: `update_step` gets variables of TensorFlow, which have no path.
        self.paths = [variable.path for variable in variables]
        self.rate_of = [self._own_rate(path) for path in self.paths]

    def _own_rate(self, path: str) -> Any:
        found = [self.rates[part] for part in path.split("/") if part in self.rates]
        return found[0] if found else None

    def named_variables(self) -> dict[str, Any]:
        """What is remembered, by names that the optimiser has on both stacks."""
        names = [f"velocity/{path.split('/', 1)[1]}" for path in self.paths]
        return {"iterations": self.iterations, **dict(zip(names, self.velocities))}

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        velocity = self.velocities[index]
        gradient = tf.cast(gradient, variable.dtype)
        gradient += self.decay * tf.convert_to_tensor(variable)
        self.assign(velocity, self.momentum * tf.convert_to_tensor(velocity) + gradient)
        if (schedule := self.rate_of[index]) is not None:
            learning_rate = schedule(self.iterations)
        self.assign_sub(
            variable,
            tf.cast(learning_rate, variable.dtype) * tf.convert_to_tensor(velocity),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "decay": self.decay,
            "rates": {
                part: keras.optimizers.schedules.serialize(rate)
                for part, rate in self.rates.items()
            },
        }


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """All that a built optimiser remembers, by name.

    The names of CoupledSGD are those of the weights. The others have a form that each
    stack has for itself, so that neither takes what the other has written for its own.
    """
    inner = compat.without_loss_scale(optimizer)
    named = inner.named_variables() if isinstance(inner, CoupledSGD) else {}
    names = {id(variable): name for name, variable in named.items()}
    return {
        names.get(id(variable))
        or f"{index:05d}_{compat.variable_name(variable)}": (variable)
        for index, variable in enumerate(compat.optimizer_variables(optimizer))
    }


def make_optimizer(
    config: Config,
) -> tuple[PolynomialDecay, keras.optimizers.Optimizer]:
    """The learning rate's schedule, and the optimiser that `config` describes."""
    settings = config.train

    def schedule(multiplier=1.0):
        # As in the reference, the minimum is not multiplied.
        return PolynomialDecay(
            multiplier * settings.learning_rate,
            settings.min_learning_rate,
            settings.iterations,
            settings.poly_power,
        )

    rates = {}
    if settings.head_lr_multiplier != 1:
        head = schedule(settings.head_lr_multiplier)
        rates = {"decode_head": head, "auxiliary_head": head}
    base = schedule()
    optimizer: Any = CoupledSGD(base, settings.momentum, settings.weight_decay, rates)
    if settings.optimizer is not None:
        arguments = {"learning_rate": base}
        named = asdict(settings.optimizer)
        optimizer = make("optimizer", named, "train.optimizer", arguments)
    if settings.precision == "mixed_float16":
        optimizer = compat.with_loss_scale(optimizer)
    return base, optimizer
