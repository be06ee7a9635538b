"""The pace of a training, and the estimate of the time left."""

import statistics
from collections import deque

# Number of recent steps whose median is the pace, so that it follows a machine that
# becomes slower.
_RECENT = 50


class Pace:
    """The times of steps and evaluations, and an estimate of the time left.

    The first step does not count: it traces and compiles the network, which takes as
    long as many steps. Evaluations count only when the first one is over.
    """

    def __init__(self, iterations: int, start: int, evaluate_every: int):
        """Begins at iteration `start` of `iterations`, before the first step."""
        self._iterations = iterations
        last_is_extra = iterations % evaluate_every != 0
        self._evaluations = (
            iterations // evaluate_every - start // evaluate_every + last_is_extra
        )
        self._started = False
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._evaluation = 0.0

    def step(self, seconds: float) -> bool:
        """Adds a step, and tells whether it counts; the first one does not."""
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
        """Estimates the seconds after `iteration`; None before two steps have run."""
        if not self._steps:
            return None
        steps = (self._iterations - iteration) * statistics.median(self._steps)
        return steps + max(self._evaluations, 0) * self._evaluation
