"""Early ends of a training: signals, and errors of the machine."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Any

import tensorflow as tf

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import is_disk_full
from gcnet_tf.training.monitor.place import Place
from gcnet_tf.training.state import Progress

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopReason(IntEnum):
    """A reason to stop before the last iteration; the largest of all workers counts."""

    NONE = 0
    CALLBACK = 1
    SIGINT = signal.SIGINT
    SIGTERM = signal.SIGTERM

    @property
    def is_signal(self) -> bool:
        return self > StopReason.CALLBACK


class Interrupted(Exception):
    """The end of a training by Ctrl-C or SIGTERM, after a checkpoint was saved."""

    def __init__(self, iteration: int, reason: StopReason):
        super().__init__(f"at iteration {iteration}")
        self.exit_code = 128 + reason


def stalled_text(progress: Progress) -> str:
    """Tells that early stopping has ended a run, and how it goes on."""
    count = progress.evaluations_since_best
    return (
        f"Stopped early at iteration {progress.iteration}: no better mIoU in {count} "
        f"evaluation{'' if count == 1 else 's'}. To go on all the same: --resume --set "
        "train.early_stopping=null"
    )


def not_finite(what: str, iteration: int, samples: str, rate: float) -> UserError:
    """Makes the sentence about a loss or gradient; `what` ends in its verb."""
    return UserError(
        f"{what} not finite at iteration {iteration}; samples: {samples}. Look at "
        f"these samples, or lower train.learning_rate (now {rate:.3e}) and start again "
        "with another --out."
    )


@contextmanager
def explaining(place: Place) -> Iterator[None]:
    """Turns errors of the machine, such as a full disk, into a `UserError`."""
    try:
        with place.naming():
            yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        if is_disk_full(error):
            raise UserError(
                "The disk is full, or a limit on files is reached, while writing to "
                f"{place.folder}: {first_line(error)}. The checkpoints there are "
                "intact; free some space and go on with --resume."
            ) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise UserError(
                "Out of memory. Lower train.batch_size or augment.crop_size, or set "
                "train.precision=mixed_bfloat16."
            ) from error
        raise


@contextmanager
def stop_signals() -> Iterator[list[StopReason]]:
    """Collects SIGINT and SIGTERM instead of ending; a second one acts as usual."""
    received: list[StopReason] = []
    old_handlers: dict[int, Any] = {
        stop_signal: signal.getsignal(stop_signal) for stop_signal in _STOP_SIGNALS
    }

    def handle(signal_number: int, frame: FrameType | None) -> None:
        received.append(StopReason(signal_number))
        signal.signal(signal_number, old_handlers[signal_number])
        # `os.write`, because the signal may have interrupted a print.
        os.write(1, "\nStopping after this iteration …\n".encode())

    try:
        for stop_signal in _STOP_SIGNALS:
            signal.signal(stop_signal, handle)
    except ValueError:
        pass  # not the main thread, as in some notebooks: signals keep their handlers
    try:
        yield received
    finally:
        try:
            for signal_number, handler in old_handlers.items():
                signal.signal(signal_number, handler)
        except ValueError:
            pass
