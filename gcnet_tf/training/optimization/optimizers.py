"""Optimiser and learning rate as in the reference (PyTorch's SGD, poly decay)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.config.schema_training import TrainConfig
from gcnet_tf.extensions.named import make


@keras.saving.register_keras_serializable("gcnet_tf")
class PolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The poly schedule of mmsegmentation 0.x.

        lr(t) = (initial - minimum) * (1 - t / iterations) ** power + minimum

    With t = 0 … iterations - 1, the minimum is never quite reached. The rate is
    computed in float64, because float32 is off by 1e-7 near the end.

    Args:
        initial, minimum, iterations, power: as above.
        accumulated: number of iterations whose gradients make one step together. They
            have the rate of the first of them: that of `iterations / accumulated`
            steps with batches that are so many times larger.
    """

    def __init__(
        self,
        initial: float,
        minimum: float,
        iterations: int,
        power: float,
        accumulated: int = 1,
    ):
        self.initial = initial
        self.minimum = minimum
        self.iterations = iterations
        self.power = power
        self.accumulated = accumulated

    def __call__(self, step: Any) -> tf.Tensor:
        # After the end, as in a schedule that was shortened, the rate stays minimal.
        begun = tf.cast(step, tf.float64) // self.accumulated * self.accumulated
        left = 1.0 - begun / self.iterations
        left = tf.maximum(left, tf.constant(0.0, tf.float64))
        return (self.initial - self.minimum) * left**self.power + self.minimum

    def get_config(self) -> dict[str, Any]:
        return {
            "initial": self.initial,
            "minimum": self.minimum,
            "iterations": self.iterations,
            "power": self.power,
            "accumulated": self.accumulated,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class CoupledSGD(compat.Optimizer):
    """SGD with momentum and coupled weight decay, as in PyTorch.

        gradient += decay * weight
        velocity  = momentum * velocity + gradient
        weight   -= learning_rate * velocity

    Keras' own SGD differs in two ways: its velocity contains the learning rate, which
    matters as soon as the rate changes, and its weight decay bypasses the momentum. The
    decay applies to every trainable weight, biases and normalisations included.

    Args:
        learning_rate: a number or a schedule.
        momentum: factor on the velocity in each step.
        decay: weight decay.
        rates: schedules of parts of the model that do not follow `learning_rate`, by
            the part's name, such as "decode_head".
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        decay: float = 5e-4,
        rates: Mapping[str, Any] | None = None,
        name: str = "coupled_sgd",
        **kwargs: Any,
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
        # Else a graph computes both products as soon as a step begins, of all weights.
        with tf.control_dependencies([gradient]):
            gradient += self.decay * tf.convert_to_tensor(variable)
            moved = self.momentum * tf.convert_to_tensor(velocity)
        self.assign(velocity, moved + gradient)
        if (schedule := self.rate_of[index]) is not None:
            # As for `learning_rate`: `iterations` leaves out those that accumulate.
            learning_rate = schedule(self._iterations)
        self.assign_sub(
            variable,
            tf.cast(learning_rate, variable.dtype) * tf.convert_to_tensor(velocity),
        )

    def get_config(self) -> dict[str, Any]:
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


def poly_schedule(settings: TrainConfig, multiplier: float = 1.0) -> PolynomialDecay:
    """Makes the schedule of the learning rate, or of a multiple of it."""
    # As in the reference, the minimum is not multiplied.
    return PolynomialDecay(
        multiplier * settings.learning_rate,
        settings.min_learning_rate,
        settings.iterations,
        settings.poly_power,
    )


def make_optimizer(
    config: Config,
) -> tuple[PolynomialDecay, keras.optimizers.Optimizer]:
    """Makes the schedule of the learning rate and the optimiser of `config`."""
    settings = config.train
    rates = {}
    if settings.head_lr_multiplier != 1:
        head = poly_schedule(settings, settings.head_lr_multiplier)
        rates = {"decode_head": head, "auxiliary_head": head}
    base = poly_schedule(settings)
    optimizer: Any = CoupledSGD(base, settings.momentum, settings.weight_decay, rates)
    if settings.optimizer is not None:
        arguments = {"learning_rate": base}
        named = asdict(settings.optimizer)
        optimizer = make("optimizer", named, "train.optimizer", arguments)
        base.accumulated = getattr(optimizer, "gradient_accumulation_steps", None) or 1
    if settings.precision == "mixed_float16":
        optimizer = compat.with_loss_scale(optimizer)
    return base, optimizer
