"""The process of a command: how it starts TensorFlow, and how it ends."""

import argparse
import io
import os
import re
import select
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gcnet_tf.commands.cli.lines import as_started_here
from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_predictor as load
from gcnet_tf.evaluation.load import needs_tensorflow
from gcnet_tf.files.names import ESCAPED
from gcnet_tf.processor import unused_gpu
from gcnet_tf.runtime import Predictor

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
# As shells report a program that SIGPIPE has ended.
EXIT_READER_GONE = 141
# As shells report a program that SIGTERM has ended.
EXIT_TERMINATED = 143
# BSD's EX_TEMPFAIL: the same command may succeed when it is started again.
EXIT_WORKER_LOST = 75

# Lines that TensorFlow writes on every start, whatever TF_CPP_MIN_LOG_LEVEL says: the
# logging of 2.21 is not set up yet at that point, and 2.15 registers CUDA's libraries
# twice. cuInit fails on any machine without a GPU.
_START_UP_NOISE = re.compile(
    r"^(I0000 |WARNING: All log messages before absl|.*failed call to cuInit"
    r"|.*Unable to register cu(DNN|FFT|BLAS) factory)"
)


def load_predictor(args: argparse.Namespace) -> tuple[Predictor, Config]:
    """Loads the model that `--model`, or `--cfg` and `--weights`, and `--mode` name.

    TensorFlow starts only for models that need it.
    """
    if not needs_tensorflow(args.model):
        return load(args.cfg, args.weights, args.model, args.set, args.mode)
    start_tensorflow()
    loaded = load(args.cfg, args.weights, args.model, args.set, args.mode)
    say_tf32()
    return loaded


def say_tf32() -> None:
    """Prints whether GPUs compute in TF32, after a model is loaded."""
    from gcnet_tf.compat import tf32_text

    if text := tf32_text():
        print(text, file=sys.stderr)


def start_tensorflow() -> None:
    """Imports TensorFlow without the notices it prints on every start.

    Where it does not use a GPU that is there, a warning says so, and the notices about
    the GPU are shown as well.
    """
    warning = ""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow

            warning = unused_gpu(tensorflow.config.list_physical_devices("GPU"))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured:
                if warning or not _START_UP_NOISE.match(line):
                    sys.stderr.write(line)
    if warning:
        warnings.warn(warning, stacklevel=2)


@contextmanager
def sigterm_cleans_up() -> Iterator[None]:
    """Lets SIGTERM end the command as Ctrl-C does: what is unfinished is removed.

    By default it ends a process at once, whose temporary files and children stay. A
    second one does so here, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler, and gets the signal
        return

    def end(signal_number: int, frame: object) -> None:
        signal.signal(signal_number, before)
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printable(text: str) -> str:
    """Escapes what a terminal would obey: messages quote files of others, too."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1]
        for char in text
    )


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's `main`; turns a `UserError` into a message and exit code 2.

    When the reader of the output has gone, as `head` does, it ends without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may be any bytes, and those of classes in any script.
            stream.reconfigure(errors=ESCAPED)
    warnings.formatwarning = lambda message, *details: (
        f"Warning: {as_started_here(str(message))}\n"
    )
    try:
        try:
            code: Any = _exit_code(main)
        finally:
            sys.stdout.flush()  # here, because at the exit an error cannot be caught
    except BrokenPipeError:
        if not _silence_closed_pipes():
            raise
        code = EXIT_READER_GONE
    sys.exit(code)


def _exit_code(main: Callable[[], int | None]) -> Any:
    """Runs a command's `main`, prints its errors, and returns the exit code."""
    try:
        return main() or 0
    except SystemExit as end:
        return end.code
    except UserError as error:
        print(f"Error: {as_started_here(printable(str(error)))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _silence_closed_pipes() -> bool:
    """Sends the rest of an output that nobody reads to nowhere.

    Returns:
        True when there is such an output: when the error is of no other pipe.
    """
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    closed = [
        descriptor
        for descriptor, event in poll.poll(0)
        if event & (select.POLLERR | select.POLLHUP)
    ]
    with open(os.devnull, "wb") as nowhere:
        for descriptor in closed:
            os.dup2(nowhere.fileno(), descriptor)
    return bool(closed)
