"""How fast a training goes, and how long the rest of it takes."""

import statistics
from collections import deque

# Steps whose median is the pace: it follows a machine that becomes slower.
_RECENT = 50


class Pace:
    """Seconds of steps and of evaluations, and what is left by them.

    The first step does not count: it traces and compiles the network, which takes as
    long as many steps. Neither do evaluations before the first one is over.
    """

    def __init__(self, iterations: int, start: int, evaluate_every: int):
        """Begins at iteration `start` of `iterations`; no step has run yet."""
        self._iterations = iterations
        last_is_extra = iterations % evaluate_every != 0
        self._evaluations = (
            iterations // evaluate_every - start // evaluate_every + last_is_extra
        )
        self._started = False
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._evaluation = 0.0

    def step(self, seconds: float) -> bool:
        """Adds a step; returns whether it counts, which the first one does not."""
        counts = self._started
        if counts:
            self._steps.append(seconds)
        self._started = True
        return counts

    def evaluation(self, seconds: float) -> None:
        """Adds an evaluation."""
        self._evaluation = seconds
        self._evaluations -= 1

    def seconds_left(self, iteration: int) -> float | None:
        """Estimates the rest after `iteration`; None before two steps have run."""
        if not self._steps:
            return None
        steps = (self._iterations - iteration) * statistics.median(self._steps)
        return steps + max(self._evaluations, 0) * self._evaluation
