"""Workers, the processes that train together, and the messages between them."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.errors import UserError
from gcnet_tf.training.distributed.exchange import sum_over_workers

# Errors of an exchange with a worker that is gone: its connection was closed, or it
# gave no sign of life for some ten seconds (TensorFlow's coordination service).
GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.DeadlineExceededError,
)
# Between GPUs, NCCL notices it, and TensorFlow passes its errors on under these types.
_OF_NCCL = (tf.errors.InternalError, tf.errors.UnknownError)


class WorkerLost(Exception):
    """The loss of another worker of the job; this one cannot continue alone."""


class Workers:
    """All workers of a strategy; under most strategies, this process alone.

    All workers must call the methods that exchange something, in the same order.

    Attributes:
        number: number of workers.
        index: index of this worker.
        chief: whether this worker is the chief, which writes the files.
        share: share of an evaluation for this worker.
        devices: names of the devices of this worker.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.number, self.index = 1, 0
        resolver = strategy.cluster_resolver
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            jobs = resolver.cluster_spec().as_dict()
            self.number = sum(map(len, jobs.values()))
            num_chiefs = (
                len(jobs.get("chief", ())) if resolver.task_type == "worker" else 0
            )
            self.index = num_chiefs + resolver.task_id
        self.chief = self.index == 0
        self.share = Share(self.index, self.number)
        self.devices = tuple(strategy.extended.worker_devices)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Returns, on all workers, the sum of their arrays of one shape and type."""
        if self.number == 1:
            return values
        return sum_over_workers(values, self.number)

    def largest(self, value: int) -> int:
        """Returns, on all workers, the largest of their values."""
        values = np.zeros(self.number, np.int64)
        values[self.index] = value
        return int(self.sum(values).max())

    def gather(self, value: Any) -> list[Any]:
        """Returns, on all workers, the list of their values for JSON, or None."""
        if self.number == 1:
            return [value]
        text = b"" if value is None else json.dumps(value).encode()
        texts = np.zeros((self.number, self.largest(len(text))), np.int64)
        if not texts.size:
            return [None] * self.number
        texts[self.index, : len(text)] = np.frombuffer(text, np.uint8)
        rows = self.sum(texts).astype(np.uint8)
        return [
            json.loads(text) if (text := row.tobytes().rstrip(b"\0")) else None
            for row in rows
        ]

    def chief_does(self, action: Callable[[], Any]) -> Any:
        """Runs an action on the chief; all workers get its result or its `UserError`.

        Args:
            action: a function that returns a value for JSON.
        """
        if self.number == 1:
            return action()
        outcome = None
        if self.chief:
            try:
                outcome = {"result": action()}
            except UserError as error:
                outcome = {"error": str(error)}
        outcome = self.gather(outcome)[0]
        if "error" in outcome:
            raise UserError(outcome["error"])
        return outcome["result"]

    def take_from_chief(self, variables: Sequence[Any]) -> None:
        """Copies the chief's values of variables to every worker."""
        if self.number == 1:
            return
        for variable in variables:
            value = np.asarray(variable.numpy())
            variable.assign(self.sum(value if self.chief else np.zeros_like(value)))

    @contextmanager
    def noticing_losses(self) -> Iterator[None]:
        """Turns TensorFlow's errors about a lost worker into `WorkerLost`."""
        try:
            yield
        except (*GONE, *_OF_NCCL) as error:
            of_nccl = "NCCL" in error.message
            if self.number == 1 or isinstance(error, _OF_NCCL) and not of_nccl:
                raise
            raise WorkerLost(
                f"Another worker has disappeared ({_reason(error)}), so that this one "
                f"(number {self.index} of 0 to {self.number - 1}) stops, too. Start "
                "the job again with --resume, with as many workers or another number: "
                "it goes on from the newest checkpoint."
            ) from error


def _reason(error: tf.errors.OpError) -> str:
    """Extracts the line that gives the reason from a long error message."""
    match = re.search(r"aborted by: (.*(?:\n/job:.*)?)", error.message)
    return " ".join((match[1] if match else error.message).split())[:200]
