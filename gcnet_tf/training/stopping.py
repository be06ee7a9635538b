"""How a training ends before its time: signals, and what the machine refuses."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import tensorflow as tf

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import is_disk_full

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopReason(IntEnum):
    """Why a training stops before its last iteration; the largest of all workers'."""

    NONE = 0
    CALLBACK = 1
    SIGINT = signal.SIGINT
    SIGTERM = signal.SIGTERM

    @property
    def is_signal(self) -> bool:
        return self > StopReason.CALLBACK


class Interrupted(Exception):
    """Training was asked to stop (Ctrl-C or SIGTERM); a checkpoint was saved."""

    def __init__(self, iteration: int, reason: StopReason):
        super().__init__(f"at iteration {iteration}")
        self.exit_code = 128 + reason


@contextmanager
def explaining(run: Path) -> Iterator[None]:
    """What is the machine's fault and not the program's, in a sentence."""
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        if is_disk_full(error):
            raise UserError(
                f"The disk is full, or a limit on files is reached, while writing to "
                f"{run}: {first_line(error)}. The checkpoints there are intact; free "
                "some space and go on with --resume."
            ) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise UserError(
                "Out of memory. Lower train.batch_size or augment.crop_size, or set "
                "train.precision=mixed_bfloat16."
            ) from error
        raise


@contextmanager
def stop_signals() -> Iterator[list[StopReason]]:
    """Collects SIGINT and SIGTERM instead of dying; a second one acts as usual."""
    received: list[StopReason] = []
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def handle(number, frame):
        received.append(StopReason(number))
        signal.signal(number, before[number])
        # Not print: the signal may have come in the middle of one.
        os.write(1, "\nStopping after this iteration …\n".encode())

    try:
        for number in _STOP_SIGNALS:
            signal.signal(number, handle)
    except ValueError:
        pass  # not in the main thread, as in some notebooks: signals stay as they are
    try:
        yield received
    finally:
        try:
            for number, handler in before.items():
                signal.signal(number, handler)
        except ValueError:
            pass
