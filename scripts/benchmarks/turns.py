"""Measurement of candidates in turn, each in a process of its own.

The process of a candidate is stopped while another candidate is measured, and each
candidate has its turn in every round. Ratios are to the first candidate in the same
round.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.workers import Measurement, Worker, serve

# Names of the streams that a candidate's worker serves.
IMPORT, RUN = "import", "run"


class Candidate(NamedTuple):
    """Something that is measured beside others."""

    name: str
    outputs: str
    """Names of the outputs, all at the image's size."""
    command: list[object]
    """Command that starts the worker."""
    megabytes: float | None
    """Size of the file or folder, MB."""


class Timing(NamedTuple):
    """Measurements of one candidate."""

    name: str
    outputs: str
    megabytes: float | None
    baseline: float
    """Memory with the interpreter imported, before the model is opened, MB."""
    rounds: list[Measurement]
    ratios: list[float]
    """Median time divided by that of the first candidate, one per round."""

    @property
    def times(self) -> list[float]:
        """Seconds of all runs, sorted."""
        return sorted(seconds for turn in self.rounds for seconds in turn.times)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def p90(self) -> float:
        """Time that one run in ten exceeds."""
        return self.times[-(-9 * len(self.times) // 10) - 1]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def peak(self) -> float:
        """Most memory that the process ever had, MB."""
        return max(turn.peak for turn in self.rounds)

    @property
    def busy(self) -> float:
        """Average number of cores in use during a measurement."""
        return statistics.median(turn.cpu / turn.wall for turn in self.rounds)

    def to_dict(self) -> dict:
        """Returns everything about the candidate, for JSON."""
        return {
            "name": self.name,
            "gives": self.outputs,
            "median_seconds": self.median,
            "p90_seconds": self.p90,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "cores_busy": self.busy,
            "peak_mb": self.peak,
            "peak_above_interpreter_mb": self.peak - self.baseline,
            "file_mb": self.megabytes,
            "seconds": [turn.times for turn in self.rounds],
        }


def measure(
    candidates: Sequence[Candidate], rounds: int, seconds: float, threads: int
) -> list[Timing]:
    """Runs all candidates in turn, after one more round that does not count.

    Args:
        candidates: ratios are to the first one.
        rounds: number of measurements of each candidate.
        seconds: length of a measurement after a shorter warm-up; at least one image
            is measured.
        threads: number of threads of each candidate; set for libraries that take no
            argument for it.
    """
    limit_threads(threads)
    baselines: list[float] = []
    measurements: list[list[Measurement]] = [[] for _ in candidates]
    steps = (rounds + 1) * len(candidates)
    with ExitStack() as stack, tqdm(total=steps, desc="rounds", disable=None) as bar:
        workers = []
        for candidate in candidates:
            worker = stack.enter_context(Worker(candidate.command))
            bar.set_postfix_str(candidate.name)
            baselines.append(worker.measure(IMPORT, 0).memory)
            worker.measure(RUN, 0)
            workers.append(worker)
            bar.update()
        for _ in range(rounds):
            for candidate, worker, turns in zip(candidates, workers, measurements):
                bar.set_postfix_str(candidate.name)
                turns.append(worker.measure(RUN, seconds))
                bar.update()
    medians = [
        [statistics.median(turn.times) for turn in turns] for turns in measurements
    ]
    return [
        Timing(
            candidate.name,
            candidate.outputs,
            candidate.megabytes,
            baseline,
            turns,
            [median / base for median, base in zip(own_medians, medians[0])],
        )
        for candidate, baseline, turns, own_medians in zip(
            candidates, baselines, measurements, medians
        )
    ]


def limit_threads(threads: int) -> None:
    """Limits the threads of libraries in processes that are started from now on.

    This reaches numpy, MKL and TensorFlow's own pool, which take no argument for it.
    """
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[variable] = str(threads)


def serve_candidate(
    interpreter: str, open_runner: Callable[[], Callable[[], object]], batch: int = 1
) -> None:
    """Serves the streams `IMPORT` and `RUN` of a candidate until the input ends.

    Args:
        interpreter: name of the module that stream `IMPORT` imports.
        open_runner: returns the function that stream `RUN` calls; called once, before
            the first run.
        batch: number of images of a run.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    runner = cache(open_runner)

    def import_interpreter() -> int:
        import_module(interpreter)
        return 0

    def run() -> int:
        runner()()
        return batch

    serve({IMPORT: import_interpreter, RUN: run})


def limit_tensorflow(threads: int) -> None:
    """Limits the threads of an operation of TensorFlow in this process."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
