"""Losses that are still on the device, where they may not be computed yet."""

import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf


class StepRecord(NamedTuple):
    """An iteration that has been read.

    Attributes:
        losses: its losses by name.
        waited: seconds that it waited for data.
        worked: seconds that it took besides.
    """

    losses: dict[str, float]
    waited: float
    worked: float

    @property
    def is_finite(self) -> bool:
        return all(map(math.isfinite, self.losses.values()))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.losses.items())


class Unread:
    """Losses of the iterations since the last reading.

    A GPU computes a step while Python prepares the next ones. Reading a number of it
    waits until it has computed everything before, so that it idles afterwards.

    Attributes:
        num_steps: steps of the optimiser before the last iteration.
        last: losses of the last iteration that was read, and "loss", their sum.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Mapping[str, tf.Tensor], float, float]] = []
        self.num_steps = tf.constant(0)
        self.last: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(
        self,
        losses: Mapping[str, tf.Tensor],
        num_steps: tf.Tensor,
        waited: float,
        worked: float,
    ) -> None:
        """Adds an iteration with the seconds that it `waited` for data and `worked`."""
        self._steps.append((losses, waited, worked))
        self.num_steps = num_steps

    def read(self) -> list[StepRecord]:
        """Returns all iterations in order, and forgets them; waits for the device."""
        steps, self._steps = self._steps, []
        start = time.perf_counter()
        losses = [
            {name: float(value) for name, value in values.items()}
            for values, _, _ in steps
        ]
        # All of them have kept the device busy for so long.
        share = (time.perf_counter() - start) / max(len(steps), 1)
        if losses:
            self.last = {"loss": sum(losses[-1].values()), **losses[-1]}
        return [
            StepRecord(read, waited, worked + share)
            for read, (_, waited, worked) in zip(losses, steps)
        ]
