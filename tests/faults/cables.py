"""Trainings of two hosts whose cable is slow, loses packets or is cut."""

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kills import ITERATIONS, compare_runs
from tiny import SETTINGS, make_images

from benchmarks.network.hosts import Hosts
from gcnet_tf.weights.files import list_checkpoints, newest_checkpoint

EXIT_WORKER_LOST = 75
# Seconds within which both workers must have ended after a cut. TensorFlow gives a
# silent worker ten seconds, and checks that often.
LONGEST_NOTICE = 120.0
# Seconds within which a training must end that nothing cuts.
_LONGEST_RUN = 900.0
_CUT_AFTER = 3
_SETTINGS = (
    *SETTINGS,
    "train.strategy=multi_worker",
    f"train.iterations={ITERATIONS}",
    "train.log_every=1",
    "train.evaluate_every=4",
    "train.checkpoint_every=1",
)


@dataclass(frozen=True)
class Cable:
    """A cable and its fault.

    Attributes:
        name: name of the case.
        relayed: whether a relay carries the packets, in place of a veth pair.
        delay: seconds of a packet, one way.
        loss: share of the packets that are lost, each way.
        cut: seconds for which it is cut in the middle of the training; None for never.
    """

    name: str
    relayed: bool = True
    delay: float = 0.0
    loss: float = 0.0
    cut: float | None = None


CABLES = (
    Cable("no fault", relayed=False),
    Cable("1 ms of delay", delay=0.001),
    Cable("20 ms of delay", delay=0.02),
    Cable("1 % loss", loss=0.01),
    Cable("cut for 5 s", relayed=False, cut=5.0),
    Cable("cut for good", relayed=False, cut=math.inf),
    Cable("packets vanish for 5 s", cut=5.0),
    Cable("packets vanish for good", cut=math.inf),
)
WHOLE = CABLES[0]


@dataclass(frozen=True)
class Outcome:
    """End of a training.

    Attributes:
        codes: exit codes of both workers; None for one that had to be killed.
        seconds: from the cut, or from the start, until the last worker has ended.
        output: what both have written.
    """

    codes: tuple[int | None, ...]
    seconds: float
    output: str

    @property
    def went_on(self) -> bool:
        return self.codes == (0, 0)

    @property
    def stopped(self) -> bool:
        return self.codes == (EXIT_WORKER_LOST, EXIT_WORKER_LOST)


class Site:
    """A folder with records, and trainings with them on two hosts."""

    def __init__(self, folder: Path):
        from gcnet_tf.config import load_config
        from gcnet_tf.data.prepare import ensure_records

        self.folder = folder
        self._settings = (
            f"data.root={make_images(folder / 'images')}",
            f"data.records={folder / 'records'}",
            *_SETTINGS,
        )
        ensure_records(load_config("shapes_r18", self._settings))

    def run(self, name: str) -> Path:
        """Returns the run folder of a name, in which the first worker writes."""
        return self.folder / name

    def train(self, cable: Cable, name: str, resume: bool = False) -> Outcome:
        """Trains on two hosts, with the faults of the cable."""
        with Hosts(cable.relayed) as hosts:
            if cable.delay:
                hosts.set_delay(cable.delay)
            if cable.loss:
                hosts.set_loss(cable.loss)
            outputs = [self.folder / f"{name}_{index}.txt" for index in range(2)]
            workers = []
            for index, path in enumerate(outputs):
                with path.open("w") as file:
                    command = self._command(name, index, resume)
                    workers.append(
                        hosts.start(index, command, stdout=file, stderr=file)
                    )
            start, longest = time.monotonic(), _LONGEST_RUN
            if cable.cut is not None:
                self._await_iteration(name, workers)
                hosts.cut()
                start, longest = time.monotonic(), LONGEST_NOTICE
                if cable.cut < math.inf:
                    time.sleep(cable.cut)
                    hosts.mend()
                    longest = _LONGEST_RUN
            codes = _codes(workers, start + longest)
            seconds = time.monotonic() - start
        return Outcome(codes, seconds, "\n".join(path.read_text() for path in outputs))

    def _command(self, name: str, index: int, resume: bool) -> list[object]:
        words = [word for text in self._settings for word in ("--set", text)]
        # The second host has a folder of its own, in which nothing may appear.
        out = self.run(name) if index == 0 else self.folder / f"{name}_other"
        more = ["--resume"] if resume else []
        train = [sys.executable, "-m", "gcnet_tf", "train", "--cfg", "shapes_r18"]
        return [*train, *words, "--out", out, *more]

    def _await_iteration(self, name: str, workers: Sequence[subprocess.Popen]) -> None:
        """Waits until some iterations are made and saved, and the next one runs."""
        deadline = time.monotonic() + _LONGEST_RUN
        while len(list_checkpoints(self.run(name))) < _CUT_AFTER:
            assert time.monotonic() < deadline, "the training does not begin"
            assert all(w.poll() is None for w in workers), "a worker ended too early"
            time.sleep(0.02)


def _codes(
    workers: Sequence[subprocess.Popen], deadline: float
) -> tuple[int | None, ...]:
    codes: list[int | None] = []
    for worker in workers:
        try:
            codes.append(worker.wait(max(deadline - time.monotonic(), 0)))
        except subprocess.TimeoutExpired:
            codes.append(None)
    return tuple(codes)


@dataclass(frozen=True)
class Survival:
    """End of a training with a fault: `problem` is "" when it has survived."""

    problem: str
    details: str


def survive(site: Site, cable: Cable, name: str) -> Survival:
    """Trains with a fault, resumes if it stopped, and compares with `WHOLE`'s run.

    Args:
        site: has trained `WHOLE` under its name, unless this is it.
        cable: the cable.
        name: name of the run.
    """
    outcome = site.train(cable, name)
    if outcome.went_on:
        details = f"went on; {outcome.seconds:.0f} s to the end"
    elif outcome.stopped and cable.cut is not None:
        details = f"both stopped with 75 after {outcome.seconds:.0f} s"
        if problem := _state_of_stopped(site.run(name)):
            return Survival(problem, details)
        resumed = site.train(WHOLE, name, resume=True)
        if not resumed.went_on:
            return Survival(f"resumed: {resumed.codes}\n{resumed.output}", details)
    else:
        return Survival(f"exit codes {outcome.codes}\n{outcome.output}", "")
    if (site.folder / f"{name}_other").exists():
        return Survival("the second worker wrote a run folder", details)
    return Survival(compare_runs(site.run(name), site.run(WHOLE.name)), details)


def _state_of_stopped(run: Path) -> str:
    """Describes a checkpoint that is not whole; "" when all are."""
    checkpoints = list_checkpoints(run)
    for checkpoint in checkpoints:
        files = {path.name for path in checkpoint.iterdir()}
        if files != {"model.weights.h5", "optimizer.npz", "state.json"}:
            return f"{checkpoint.name} holds {sorted(files)}"
    if not checkpoints or newest_checkpoint(run) != checkpoints[-1]:
        return "the newest checkpoint is not intact"
    return ""
