"""How many images per second are evaluated: ours, and the reference's protocol.

Both evaluate the same images with the same weights, from files on disk to the mIoU, in
a process each. They take turns: in every round each evaluates all images in each mode.
"""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.evaluate_files import read_scores
from benchmarks.infer import limit_threads
from benchmarks.workers import REPOSITORY, Measurement, Worker, own_command

PEER_WORKER = REPOSITORY / "tests" / "parity" / "reference_evaluate.py"


class Row(NamedTuple):
    """What was measured of one side in one mode."""

    mode: str
    name: str
    rounds: list[Measurement]
    ratios: list[float]
    """Time to that of the first side, one per round."""
    miou: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return statistics.median(each.images / each.wall for each in self.rounds)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def busy(self) -> float:
        """Cores in use on average."""
        return statistics.median(each.cpu / each.wall for each in self.rounds)

    @property
    def cpu(self) -> float:
        """Seconds of a core for an image."""
        return statistics.median(each.cpu / each.images for each in self.rounds)

    def to_dict(self) -> dict:
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
            "seconds": [each.wall for each in self.rounds],
        }


def our_command(folder: Path, threads: int) -> list[object]:
    """Starts our worker on what `evaluate_data.prepare` wrote."""
    return own_command("evaluate_worker", folder, threads)


def peer_command(python: Path, folder: Path, threads: int) -> list[object]:
    """The same for mmsegmentation, with the python of its environment."""
    return [python, PEER_WORKER, folder, threads]


def measure(
    sides: Sequence[tuple[str, list[object]]],
    modes: Sequence[str],
    folder: Path,
    rounds: int,
    threads: int,
) -> list[Row]:
    """Evaluates in turn; ratios are to the first side in the same round.

    Args:
        sides: names and commands of the workers.
        modes: of `EVALUATION_MODES`.
        folder: where the workers write their scores.
        rounds: how often each evaluates in each mode.
        threads: of each.
    """
    limit_threads(threads)
    found: dict[tuple[str, str], list[Measurement]] = {
        (mode, name): [] for mode in modes for name, _ in sides
    }
    bar = tqdm(total=rounds * len(found), desc="rounds", disable=None)
    with ExitStack() as stack, bar:
        workers = {
            name: stack.enter_context(Worker(command)) for name, command in sides
        }
        for _ in range(rounds):
            for (mode, name), measurements in found.items():
                bar.set_postfix_str(f"{name}, {mode}")
                # Of no length: once through all images.
                measurements.append(workers[name].measure(mode, 0))
                bar.update()
    base = sides[0][0]
    return [
        Row(
            mode,
            name,
            measurements,
            [
                one.wall / other.wall
                for one, other in zip(measurements, found[mode, base])
            ],
            read_scores(folder, name, mode),
        )
        for (mode, name), measurements in found.items()
    ]
