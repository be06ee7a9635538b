"""Images per second of both sides of an evaluation, ours and the reference's protocol.

Both evaluate the same images with the same weights, from files on disk to the mIoU, in
a process each. They take turns: in every round each evaluates all images in each mode.
"""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks import peer
from benchmarks.evaluate.files import read_miou
from benchmarks.turns import limit_threads
from benchmarks.workers import Measurement, Worker, own_command

PEER_WORKER = peer.WORKERS / "reference_evaluate.py"


class ModeTiming(NamedTuple):
    """Measurements of one side in one mode."""

    mode: str
    name: str
    rounds: list[Measurement]
    ratios: list[float]
    """Time divided by that of the first side, one per round."""
    miou: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return statistics.median(turn.images / turn.wall for turn in self.rounds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def busy(self) -> float:
        """Average number of cores in use."""
        return statistics.median(turn.cpu / turn.wall for turn in self.rounds)

    @property
    def cpu(self) -> float:
        """Seconds of a core for an image."""
        return statistics.median(turn.cpu / turn.images for turn in self.rounds)

    def to_dict(self) -> dict:
        """Returns everything about the side, for JSON."""
        return {
            "mode": self.mode,
            "name": self.name,
            "images": self.rounds[0].images,
            "images_per_second": self.rate,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "cores_busy": self.busy,
            "core_seconds": self.cpu,
            "miou": self.miou,
            "seconds": [turn.wall for turn in self.rounds],
        }


def our_command(folder: Path, threads: int) -> list[object]:
    """Returns the command of our worker on a folder that `data.prepare` wrote."""
    return own_command("evaluate.worker", folder, threads)


def peer_command(python: Path, folder: Path, threads: int) -> list[object]:
    """Returns the command of mmsegmentation's worker, for its environment's python."""
    return [python, PEER_WORKER, folder, threads]


def measure(
    sides: Sequence[tuple[str, list[object]]],
    modes: Sequence[str],
    folder: Path,
    rounds: int,
    threads: int,
) -> list[ModeTiming]:
    """Evaluates in turn; ratios are to the first side in the same round.

    Args:
        sides: names and commands of the workers.
        modes: some of `EVALUATION_MODES`.
        folder: folder into which the workers write their mIoU.
        rounds: number of evaluations of each side in each mode.
        threads: number of threads of each side.
    """
    limit_threads(threads)
    measurements: dict[tuple[str, str], list[Measurement]] = {
        (mode, name): [] for mode in modes for name, _ in sides
    }
    bar = tqdm(total=rounds * len(measurements), desc="rounds", disable=None)
    with ExitStack() as stack, bar:
        workers = {
            name: stack.enter_context(Worker(command)) for name, command in sides
        }
        for _ in range(rounds):
            for (mode, name), turns in measurements.items():
                bar.set_postfix_str(f"{name}, {mode}")
                # With 0 seconds a worker goes through all images once.
                turns.append(workers[name].measure(mode, 0))
                bar.update()
    base = sides[0][0]
    return [
        ModeTiming(
            mode,
            name,
            turns,
            [
                own.wall / first.wall
                for own, first in zip(turns, measurements[mode, base])
            ],
            read_miou(folder, name, mode),
        )
        for (mode, name), turns in measurements.items()
    ]
