"""How many images per second a core makes ready for training: ours, and the reference.

Both read the same VOC-like images, ours from TFRecords and the reference from files, in
a process each, pinned to the same core and asked in turn, round after round. The rate
is taken from the time that the process had the core, so that other work on the machine
does not count; `core` tells how much of the core it got.
"""

import json
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.voc_like import NUM_CLASSES, write_voc_like
from benchmarks.workers import REPOSITORY, Measurement, Worker, own_command
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.prepare import ensure_records

NUM_IMAGES = 200
# For scaled decoding, which VOC's sizes never give reason to.
NUM_LARGE, LARGE_SIZE = 24, (1536, 2048)
MEMORY_SAMPLES = (2000, 10_000)
# Streams of leads.py, which needs TensorFlow.
LEADS = (
    "whole image, op by op",
    "needed region, op by op",
    "colours before enlarging",
    "cropping decoder",
    "colours on the device",
)

PEER = REPOSITORY / "tests" / "parity" / "reference_pipeline.py"


def benchmark_config(root: Path) -> Config:
    """VOC's own augmentation and batch, on a folder of VOC-like images."""
    classes = [f"class {number}" for number in range(NUM_CLASSES)]
    settings = {
        "data.dataset": "folder",
        "data.root": str(root),
        "data.records": str(root / "records"),
        "data.classes": classes,
    }
    return load_config(
        "voc_r50_20k",
        [f"{key}={json.dumps(value)}" for key, value in settings.items()],
    )


class Row(NamedTuple):
    """One line of the table."""

    name: str
    rates: list[float]
    """Images per second of a core, one per round."""
    ratios: list[float]
    """To the row that it is compared with, one per round."""
    core_share: float
    """Median share of the core that the process got, 1 on a quiet machine."""

    def to_dict(self) -> dict:
        return {
            "name": self.name,
            "images_per_second": statistics.median(self.rates),
            "ratio": statistics.median(self.ratios),
            "rates": self.rates,
            "ratios": self.ratios,
            "core_share": self.core_share,
        }


class Bench:
    """The data, and the processes that work on it; use it in a `with` statement."""

    def __init__(self, folder: Path, rounds: int, seconds: float):
        self.folder = folder
        self.rounds = rounds
        self.seconds = seconds
        self.core = max(os.sched_getaffinity(0))
        self._workers = ExitStack()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *error) -> None:
        self._workers.close()

    def data(self, name: str = "voc", number: int = NUM_IMAGES, **options) -> Path:
        """Draws images and converts them."""
        root = self.folder / name
        write_voc_like(root, number, **options)
        ensure_records(benchmark_config(root), ["train"])
        return root

    def ours(self, root: Path) -> Worker:
        """A process for one stream of `streams.py`."""
        command = own_command("streams", root, self.core)
        return self._workers.enter_context(Worker(command))

    def peer(self, python: Path, root: Path) -> Worker:
        command = [python, PEER, root, "--core", self.core]
        return self._workers.enter_context(Worker(command))

    def compare(self, sides: Sequence[tuple[str, Worker, str]], base: str) -> list[Row]:
        """Measures (title, worker, stream) in turn; ratios are to the title `base`.

        One more round comes first, and does not count.
        """
        found: dict[str, list[Measurement]] = {title: [] for title, *_ in sides}
        bar = tqdm(total=(self.rounds + 1) * len(sides), desc="rounds", disable=None)
        with bar:
            for _ in range(self.rounds + 1):
                for title, worker, stream in sides:
                    found[title].append(worker.measure(stream, self.seconds))
                    bar.update()
        rates = {title: [m.rate for m in ms[1:]] for title, ms in found.items()}
        return [
            Row(
                title,
                rates[title],
                [rate / other for rate, other in zip(rates[title], rates[base])],
                statistics.median(m.cpu / m.wall for m in found[title][1:]),
            )
            for title, *_ in sides
        ]


def compare_with_peer(bench: Bench, python: Path) -> list[Row]:
    """Ours and mmsegmentation's pipeline, without and with the normalisation."""
    root = bench.data()
    sides = [
        ("ours", bench.ours(root), "uint8"),
        ("ours, normalised", bench.ours(root), "normalised"),
    ]
    if not python.is_file():
        print(
            f"mmsegmentation is left out: there is no {python}. `make "
            ".venv-parity/installed` makes it, --peer-python names another."
        )
        return bench.compare(sides, "ours")
    peer = bench.peer(python, root)
    rows = []
    for title, ours, stream in sides:
        other = title.replace("ours", "mmsegmentation")
        rows += bench.compare([(other, peer, stream), (title, ours, stream)], other)
    return rows


def compare_leads(bench: Bench) -> list[Row]:
    """Other ways to build the pipeline against the one in use."""
    root = bench.data()
    base = "in use"
    sides = [(base, bench.ours(root), "uint8")]
    sides += [(name, bench.ours(root), name) for name in LEADS]
    rows = bench.compare(sides, base)

    root = bench.data("large", NUM_LARGE, size=LARGE_SIZE)
    base = f"in use, {LARGE_SIZE[1]}x{LARGE_SIZE[0]}"
    sides = [(base, bench.ours(root), "uint8")]
    sides += [("scaled decoder, the same", bench.ours(root), "scaled decoder")]
    return rows + bench.compare(sides, base)


def memory_over_samples(bench: Bench) -> dict[int, float]:
    """Resident memory in MB of our process after so many samples."""
    worker = bench.ours(bench.data())
    found: dict[int, float] = {}
    images = 0
    with tqdm(total=MEMORY_SAMPLES[-1], desc="memory", disable=None) as bar:
        for limit in MEMORY_SAMPLES:
            while images < limit:
                measurement = worker.measure("uint8", 1.0)
                images += measurement.images
                bar.update(measurement.images)
            found[limit] = measurement.memory
    return found


def table(rows: Sequence[Row]) -> str:
    """Medians, and the range of the ratios over the rounds."""
    lines = [f"{'':<28} {'images/s':>8}  {'ratio':>5} {'from':>6} {'to':>5}  core"]
    for row in rows:
        ratio = statistics.median(row.ratios)
        lines.append(
            f"{row.name:<28} {statistics.median(row.rates):>8.1f}  {ratio:>5.2f} "
            f"{min(row.ratios):>6.2f} {max(row.ratios):>5.2f}  {row.core_share:>4.0%}"
        )
    return "\n".join(lines)
