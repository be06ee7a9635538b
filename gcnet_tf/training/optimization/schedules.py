"""Learning rates over the iterations: poly, cosine, step, one-cycle, and a warm-up."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.config.schema_training import TrainConfig


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The part that all schedules share: the warm-up, and accumulated iterations.

    In the warm-up the rate rises linearly, from `initial * warm_up_factor` at t = 0 to
    `initial` at t = warm_up, where the schedule of the other iterations begins. Rates
    are computed in float64, because float32 is off by 1e-7 near the end.

    Args:
        initial: rate after the warm-up, the largest one.
        minimum: rate at the end.
        iterations: number of all iterations, with those of the warm-up.
        accumulated: number of iterations whose gradients make one step together. They
            have the rate of the first of them: that of `iterations / accumulated`
            steps with batches that are so many times larger.
        warm_up: number of iterations of the warm-up.
        warm_up_factor: as above.
    """

    def __init__(
        self,
        initial: float,
        minimum: float,
        iterations: int,
        accumulated: int = 1,
        warm_up: int = 0,
        warm_up_factor: float = 1e-6,
    ):
        self.initial = initial
        self.minimum = minimum
        self.iterations = iterations
        self.accumulated = accumulated
        self.warm_up = warm_up
        self.warm_up_factor = warm_up_factor

    def __call__(self, step: Any) -> tf.Tensor:
        begun = tf.cast(step, tf.float64) // self.accumulated * self.accumulated
        rate = self.rate(begun)
        if not self.warm_up:
            return rate
        share = (1 - self.warm_up_factor) * begun / self.warm_up + self.warm_up_factor
        return tf.where(begun < self.warm_up, self.initial * share, rate)

    def rate(self, begun: tf.Tensor) -> tf.Tensor:
        """Returns the rate of a later iteration than those of the warm-up, float64."""
        raise NotImplementedError

    def share_done(self, begun: tf.Tensor) -> tf.Tensor:
        """Returns the share of the iterations after the warm-up that are done."""
        share = (begun - self.warm_up) / (self.iterations - self.warm_up)
        # After the end, as in a schedule that was shortened, the rate stays minimal.
        return tf.minimum(share, tf.constant(1.0, tf.float64))

    def get_config(self) -> dict[str, Any]:
        return {
            "initial": self.initial,
            "minimum": self.minimum,
            "iterations": self.iterations,
            "accumulated": self.accumulated,
            "warm_up": self.warm_up,
            "warm_up_factor": self.warm_up_factor,
        }


@keras.saving.register_keras_serializable("gcnet_tf")
class PolynomialDecay(Schedule):
    """The poly schedule of mmsegmentation 0.x.

        lr(t) = (initial - minimum) * (1 - t / iterations) ** power + minimum

    With t = 0 … iterations - 1, the minimum is never quite reached.

    Args:
        power: as above; the other arguments are those of `Schedule`.
    """

    def __init__(
        self,
        initial: float,
        minimum: float,
        iterations: int,
        power: float,
        **kwargs: Any,
    ):
        super().__init__(initial, minimum, iterations, **kwargs)
        self.power = power

    def rate(self, begun: tf.Tensor) -> tf.Tensor:
        left = 1.0 - self.share_done(begun)
        return (self.initial - self.minimum) * left**self.power + self.minimum

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power}


@keras.saving.register_keras_serializable("gcnet_tf")
class CosineDecay(Schedule):
    """Half a period of the cosine, from the initial rate to the minimum."""

    def rate(self, begun: tf.Tensor) -> tf.Tensor:
        return _cosine(self.initial, self.minimum, self.share_done(begun))


@keras.saving.register_keras_serializable("gcnet_tf")
class StepDecay(Schedule):
    """A rate that is multiplied by a factor at some iterations; at least the minimum.

    Args:
        milestones: the iterations, counted from the start of the training.
        factor: factor at each of them; the other arguments are those of `Schedule`.
    """

    def __init__(
        self,
        initial: float,
        minimum: float,
        iterations: int,
        milestones: Sequence[int],
        factor: float,
        **kwargs: Any,
    ):
        super().__init__(initial, minimum, iterations, **kwargs)
        self.milestones = list(milestones)
        self.factor = factor

    def rate(self, begun: tf.Tensor) -> tf.Tensor:
        passed = begun >= tf.constant(self.milestones, tf.float64)
        count = tf.reduce_sum(tf.cast(passed, tf.float64))
        factor = tf.constant(self.factor, tf.float64) ** count
        return tf.maximum(self.initial * factor, tf.constant(self.minimum, tf.float64))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "milestones": self.milestones, "factor": self.factor}


@keras.saving.register_keras_serializable("gcnet_tf")
class OneCycle(Schedule):
    """PyTorch's one-cycle: cosines up to the initial rate and down to the minimum.

    It rises from 1/25 of the initial rate, for 3/10 of the iterations, which is its own
    warm-up.
    """

    def rate(self, begun: tf.Tensor) -> tf.Tensor:
        top = 0.3 * self.iterations - 1
        rising = _cosine(self.initial / 25, self.initial, begun / top)
        share = (begun - top) / (self.iterations - 1 - top)
        share = tf.minimum(share, tf.constant(1.0, tf.float64))
        falling = _cosine(self.initial, self.minimum, share)
        return tf.where(begun <= top, rising, falling)


def _cosine(first: float, last: float, share: tf.Tensor) -> tf.Tensor:
    return last + (first - last) * (1 + tf.cos(math.pi * share)) / 2


def make_schedule(settings: TrainConfig, multiplier: float = 1.0) -> Schedule:
    """Makes the schedule of the learning rate, or of a multiple of it."""
    makers: dict[str, Callable[..., Schedule]] = {
        "poly": partial(PolynomialDecay, power=settings.poly_power),
        "cosine": CosineDecay,
        "step": partial(
            StepDecay, milestones=settings.step_at, factor=settings.step_factor
        ),
        "one_cycle": OneCycle,
    }
    return makers[settings.schedule](
        initial=multiplier * settings.learning_rate,
        # As in the reference, the minimum is not multiplied.
        minimum=settings.min_learning_rate,
        iterations=settings.iterations,
        warm_up=settings.warmup_iterations,
        warm_up_factor=settings.warmup_factor,
    )
