"""Worker processes, which work on images when they are asked and are stopped else."""

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

# The warm-up fills the caches, which are cold after another process had the core.
_WARM_UP_SHARE = 0.1


class Measurement(NamedTuple):
    """One answer of a worker."""

    images: int
    wall: float
    """Seconds on the clock, without the warm-up."""
    cpu: float
    """Seconds of a core that all threads of the process used together."""
    memory: float
    """Resident memory of the process at the end, MB."""
    peak: float
    """Most resident memory that the process ever had, MB."""
    times: list[float]
    """Seconds on the clock, one per batch."""
    faults: int = 0
    """Pages of memory that the system had to give to the process."""

    @property
    def rate(self) -> float:
        """Images per second of a core's time."""
        return self.images / self.cpu


def own_command(module: str, *words: object) -> list[object]:
    """Builds the command that runs a module of `benchmarks` in `environment()`.

    Args:
        module: dotted name below `benchmarks`, such as "infer.worker".
        words: arguments of the command.
    """
    return [sys.executable, "-m", f"benchmarks.{module}", *words]


def environment() -> dict[str, str]:
    """Returns this process's variables, and a path on which Python finds us."""
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Worker:
    """A process that answers every line `NAME SECONDS` with a `Measurement` in JSON.

    It is stopped between measurements, so that it neither disturbs others nor works
    ahead. Only a whole process is stopped: give each stream that reads ahead a process
    of its own.
    """

    def __init__(self, command: Sequence[object]):
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(),
            # The processes that it starts belong to its group and end with it: OpenVINO
            # leaves one behind that keeps the pipe open, so that its reader waits.
            start_new_session=True,
            encoding="utf-8",
        )

    def measure(self, name: str, seconds: float) -> Measurement:
        """Lets the worker run the stream `name` for some seconds, then stops it.

        Raises:
            UserError: with what the process wrote, when it has ended.
        """
        assert self._process.stdin and self._process.stdout
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(f"{name} {seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # The process has ended; the answer below is empty then.
        answer = self._process.stdout.readline()
        if not answer:
            self._errors.seek(0)
            raise UserError(
                f"The process that measures '{name}' ended: "
                f"{self._errors.read()[-2000:].strip() or 'it said nothing'}"
            )
        self._signal(signal.SIGSTOP)
        return Measurement(**json.loads(answer))

    def _signal(self, signal_number: int) -> None:
        """Sends a signal to the process and to all processes that it has started."""
        try:
            os.killpg(self._process.pid, signal_number)
        except ProcessLookupError:
            pass  # All of them have ended.

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
    """Answers a `Worker` from inside its process until the input ends.

    Args:
        streams: functions that produce one batch and return its length, by name.
        warm_up: functions to call before each measurement instead of the streams.
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
    """Produces batches for some seconds, at least one.

    Returns:
        the number of images, seconds of a core, and seconds on the clock of each batch.
    """
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
    """Reads a field of the kernel's account of this process, in MB."""
    with open("/proc/self/status", encoding="utf-8") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[field].split()[0]) * 1024 / 1e6
