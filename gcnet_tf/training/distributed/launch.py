"""A launcher of several workers on this machine, to try a training on many."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

# Time that a worker has to save and end before it is killed.
_GRACE_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


def tf_configs(num_workers: int) -> list[str]:
    """Makes the TF_CONFIG of each worker, on free ports of the loopback device."""
    with ExitStack() as stack:
        # All sockets are open at once, so that no port is chosen twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(num_workers)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in sockets]
    return [
        json.dumps(
            {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
        )
        for index in range(num_workers)
    ]


def launch(command: Sequence[str], num_workers: int) -> int:
    """Runs a command as `num_workers` workers until all have ended.

    Each line of output begins with the number of its worker. When a worker fails, or a
    signal tells this process to stop, all workers are told to stop.

    Returns:
        0, or the exit code of the first worker that failed (128 + the signal that
        killed it).
    """
    workers = [_start(command, config) for config in tf_configs(num_workers)]
    readers = [
        threading.Thread(target=_copy, args=(stream, out, f"[{index}] "))
        for index, worker in enumerate(workers)
        for stream, out in ((worker.stdout, sys.stdout), (worker.stderr, sys.stderr))
    ]
    for reader in readers:
        reader.start()
    with _stop_signals() as received:
        code = _wait(workers, received)
    for reader in readers:
        reader.join()
    return code


def _start(command: Sequence[str], config: str) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        # On the CPU, because workers cannot share a GPU.
        env={
            **os.environ,
            "TF_CONFIG": config,
            "CUDA_VISIBLE_DEVICES": "-1",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # So that Ctrl-C reaches only this process, which passes it on once.
        start_new_session=True,
        encoding="utf-8",
    )


def _copy(stream: IO[str], out: IO[str], prefix: str) -> None:
    """Copies the lines of a stream, each with a prefix, until the stream ends."""
    with stream:
        for line in stream:
            out.write(prefix + line)
            out.flush()


def _wait(workers: Sequence[subprocess.Popen], received: list[int]) -> int:
    """Waits for all workers; the first failure, or a signal, ends the others."""
    first_failure = 0
    deadline = None
    while running := [worker for worker in workers if worker.poll() is None]:
        codes = [worker.returncode for worker in workers if worker.returncode]
        if codes and not first_failure:
            first_failure = codes[0]
        if deadline is None and (received or first_failure):
            for worker in running:
                worker.send_signal(received[0] if received else signal.SIGTERM)
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            for worker in running:
                worker.kill()
        time.sleep(_PAUSE_SECONDS)
    code = first_failure or next((w.returncode for w in workers if w.returncode), 0)
    return 128 - code if code < 0 else code


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying."""
    received: list[int] = []
    old_handlers = {
        signal_number: signal.signal(
            signal_number, lambda signal_number, frame: received.append(signal_number)
        )
        for signal_number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for signal_number, handler in old_handlers.items():
            signal.signal(signal_number, handler)
