"""The command `scripts/benchmark.py callers`: threads that share one opened file."""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import turns
from benchmarks.infer import candidates
from benchmarks.infer.command import export_in_child
from benchmarks.report import Report, machine_facts
from benchmarks.workers import own_command
from gcnet_tf.export.plan import parse_size
from gcnet_tf.runtime.manifest import megabytes, read_manifest

CALLERS = (1, 2, 4)

_COLUMNS = ("file", "callers", "images/s", "ratio", "from", "to", "cores", "MB")
_NOTES = """\
callers: threads that ask at the same time, all the same opened file, or each its own
with one thread. images/s: of all callers together, median over the rounds. ratio: to
one caller of the same file, median over the rounds, and the range. cores: in use on
average. MB: peak memory of the process."""


class Throughput(NamedTuple):
    """Measurements of one file with some number of callers."""

    callers: int
    timing: turns.Timing

    @property
    def rate(self) -> float:
        """Images per second of all callers together."""
        return statistics.median(turn.images / turn.wall for turn in self.timing.rounds)

    @property
    def ratios(self) -> list[float]:
        """Rate divided by that of one caller, one per round."""
        return [self.callers / ratio for ratio in self.timing.ratios]

    def to_dict(self) -> dict:
        """Returns everything about the row, for JSON."""
        timing = self.timing
        return {
            "name": timing.name,
            "callers": self.callers,
            "images_per_second": self.rate,
            "ratios": self.ratios,
            "cores_busy": timing.busy,
            "peak_mb": timing.peak,
        }

    def cells(self) -> tuple[str, ...]:
        """Returns the row of the table."""
        return (
            self.timing.name,
            str(self.callers),
            f"{self.rate:.2f}",
            f"{statistics.median(self.ratios):.3f}",
            f"{min(self.ratios):.3f}",
            f"{max(self.ratios):.3f}",
            f"{self.timing.busy:.2f}",
            f"{self.timing.peak:.0f}",
        )


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures every file with each number of callers, and publishes the report.

    Args:
        args: see `arguments.add_callers_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    rows: list[Throughput] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exports = args.exports or export_in_child(args, size, folder, start_tensorflow)
        for file in candidates.exported_files(exports):
            for group in file_candidates(file, size, args.threads):
                timings = turns.measure(group, args.rounds, args.seconds, args.threads)
                rows += map(Throughput, CALLERS, timings)
    callers_report(args.command_line, rows).publish(args.out)


def file_candidates(
    file: Path, size: tuple[int, int], threads: int
) -> Iterator[list[turns.Candidate]]:
    """Yields groups of candidates, one of a group for each of `CALLERS`.

    Raises:
        UserError: when the file is not for images of this size.
    """
    manifest = read_manifest(file)
    candidates.check_size(file, manifest, size)
    ways = {"shared": ""}
    if manifest.format == "tflite":
        ways["own"] = ", opened by each"
    for way, ending in ways.items():
        yield [
            turns.Candidate(
                candidates.name_of(manifest) + ending,
                ", ".join(manifest.outputs),
                own_command("infer.callers_worker", way, file, *size, threads, callers),
                megabytes(file),
            )
            for callers in CALLERS
        ]


def callers_report(command: str, rows: list[Throughput]) -> Report:
    """Makes the report.

    Args:
        command: shell command that measured.
        rows: one for each file and number of callers.
    """
    facts = machine_facts(command) | {"rows": [row.to_dict() for row in rows]}
    return Report(
        "benchmark_callers",
        "Threads that share an exported file",
        facts,
        lines=[_COLUMNS, *(row.cells() for row in rows)],
        notes=_NOTES,
        num_words=1,
    )
