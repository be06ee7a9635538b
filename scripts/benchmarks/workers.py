"""Processes that work on images for so long when asked, and else stand still."""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[1]
REPOSITORY = SCRIPTS.parent

# Caches are cold after another process had the core.
_WARM_UP_SHARE = 0.1


class Measurement(NamedTuple):
    """One answer of a worker."""

    images: int
    wall: float
    """Seconds on the clock."""
    cpu: float
    """Seconds that the process, all its threads together, had a core."""
    memory: float
    """Resident memory of the process at the end, MB."""
    peak: float
    """The most that it ever was, MB."""
    times: list[float]
    """Seconds on the clock of each batch."""
    faults: int = 0
    """Pages that the system had to give to the process."""

    @property
    def rate(self) -> float:
        """Images per second of a core."""
        return self.images / self.cpu


def own_command(module: str, *words: object) -> list[object]:
    """Builds the command that runs a module of `benchmarks`, with `environment()`."""
    return [sys.executable, "-m", f"benchmarks.{module}", *words]


def environment() -> dict[str, str]:
    """Copies the variables here, with a path on which Python finds `benchmarks`."""
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Worker:
    """A process that answers every line `NAME SECONDS` with a `Measurement` in JSON.

    Between measurements it is stopped, so that it neither disturbs others nor works
    ahead. That holds for the process only: give each stream of one that reads ahead a
    process of its own.
    """

    def __init__(self, command: Sequence[object]):
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(),
            # A group of its own, for what it starts itself: OpenVINO leaves a process
            # behind that keeps the pipe open, and whoever reads it waiting.
            start_new_session=True,
        )

    def measure(self, name: str, seconds: float) -> Measurement:
        """Lets the worker run the stream `name`, alone, for so long."""
        assert self._process.stdin and self._process.stdout
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(f"{name} {seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; the answer below is empty then
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise UserError(
                f"The process that measures '{name}' ended: "
                f"{self._errors.read()[-2000:].strip() or 'it said nothing'}"
            )
        self._signal(signal.SIGSTOP)
        return Measurement(**json.loads(answer))

    def _signal(self, number: int) -> None:
        """Reaches the process and all that it has started."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass  # all have ended

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error) -> None:
        self._signal(signal.SIGKILL)
        self._process.communicate()
        self._errors.close()


def serve(
    streams: Mapping[str, Callable[[], int]],
    warm_up: Mapping[str, Callable[[], int]] | None = None,
) -> None:
    """A worker's side: answers until the input ends.

    Args:
        streams: by name, functions that produce one batch and return its length.
        warm_up: what comes before each measurement; by default the streams themselves.
    """
    for line in sys.stdin:
        name, seconds = line.rsplit(maxsplit=1)
        _work((warm_up or streams)[name], _WARM_UP_SHARE * float(seconds))
        before = _page_faults()
        images, cpu, times = _work(streams[name], float(seconds))
        faults = _page_faults() - before
        memory, peak = _memory("VmRSS"), _memory("VmHWM")
        measurement = Measurement(images, sum(times), cpu, memory, peak, times, faults)
        print(json.dumps(measurement._asdict()), flush=True)


def _work(produce: Callable[[], int], seconds: float) -> tuple[int, float, list[float]]:
    times: list[float] = []
    cpu, images = time.process_time(), 0
    start = before = time.perf_counter()
    while before - start < seconds or not times:
        images += produce()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return images, time.process_time() - cpu, times


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _memory(field: str) -> float:
    """A line of the kernel's account of this process, in MB."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[field].split()[0]) * 1024 / 1e6
