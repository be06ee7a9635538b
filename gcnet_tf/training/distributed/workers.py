"""The processes that train together: who writes, and what they tell each other."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.errors import UserError

# What an exchange ends with when the other side is gone: its connection closed, or no
# sign of life for some ten seconds (TensorFlow's coordination service).
_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.DeadlineExceededError,
)


class WorkerLost(Exception):
    """Another worker of the job has disappeared; this one cannot go on alone."""


class Workers:
    """All workers of a strategy. Under most strategies that is this process alone.

    The methods that exchange something must be called by all workers, in one order.

    Attributes:
        number: how many there are.
        index: which one this is.
        chief: whether this is the one that writes.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.number, self.index = 1, 0
        resolver = strategy.cluster_resolver
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            jobs = resolver.cluster_spec().as_dict()
            self.number = sum(map(len, jobs.values()))
            before = len(jobs.get("chief", ())) if resolver.task_type == "worker" else 0
            self.index = before + resolver.task_id
        self.chief = self.index == 0
        self.share = Share(self.index, self.number)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum of the workers' arrays, of one shape and type; all get the same."""
        if self.number == 1:
            return values
        first_replica = self.index * self.strategy.num_replicas_in_sync // self.number

        def given(context):
            mine = context.replica_id_in_sync_group == first_replica
            return tf.constant(values if mine else np.zeros_like(values))

        each = self.strategy.experimental_distribute_values_from_function(given)
        return self.strategy.reduce("SUM", each, axis=None).numpy()

    def largest(self, value: int) -> int:
        """The largest of the workers' values."""
        values = np.zeros(self.number, np.int64)
        values[self.index] = value
        return int(self.sum(values).max())

    def chief_does(self, action: Callable[[], Any]) -> Any:
        """Lets the chief do something; all get its result, or its `UserError`.

        Args:
            action: returns something that JSON can hold.
        """
        if self.number == 1:
            return action()
        outcome = {}
        if self.chief:
            try:
                outcome = {"result": action()}
            except UserError as error:
                outcome = {"error": str(error)}
        text = np.frombuffer(json.dumps(outcome).encode(), np.uint8).astype(np.int64)
        length = self.sum(np.array(len(text) if self.chief else 0))
        text = self.sum(text if self.chief else np.zeros(length, np.int64))
        outcome = json.loads(text.astype(np.uint8).tobytes())
        if "error" in outcome:
            raise UserError(outcome["error"])
        return outcome["result"]

    def take_from_chief(self, variables: Sequence[Any]) -> None:
        """Gives every worker the chief's values of these variables."""
        if self.number == 1:
            return
        for variable in variables:
            value = np.asarray(variable.numpy())
            variable.assign(self.sum(value if self.chief else np.zeros_like(value)))

    @contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Turns TensorFlow's errors about a worker that is gone into `WorkerLost`."""
        try:
            yield
        except _GONE as error:
            if self.number == 1:
                raise
            raise WorkerLost(
                f"Another worker has disappeared ({_reason(error)}), so that this one "
                f"(number {self.index} of 0 to {self.number - 1}) stops, too. Start "
                "the job again with --resume, with as many workers or another number: "
                "it goes on from the newest checkpoint."
            ) from error


def _reason(error: tf.errors.OpError) -> str:
    """The line that says what happened, of the many around it."""
    found = re.search(r"aborted by: (.*(?:\n/job:.*)?)", error.message)
    return " ".join((found[1] if found else error.message).split())[:200]
