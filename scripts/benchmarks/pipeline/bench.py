"""Images per second that a core makes ready for training, ours and the reference's.

Both read the same VOC-like images, ours from TFRecords and the reference from files, in
a process each. The processes are pinned to the same core and take turns, round after
round. The rate is taken from the time that the process had the core, so that other work
on the machine does not count; `core` tells how much of the core it got.
"""

import json
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks import peer, tables
from benchmarks.pipeline.voc_like import NUM_CLASSES, write_voc_like
from benchmarks.workers import Measurement, Worker, own_command
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.prepare import ensure_records

NUM_IMAGES = 200
# Large images, which are decoded at half the size; those of VOC are too small for it.
NUM_LARGE, LARGE_SIZE = 24, (1536, 2048)
MEMORY_SAMPLES = (2000, 10_000)
# Streams of leads.py, listed here because that module needs TensorFlow.
LEADS = (
    "whole image, op by op",
    "needed region, op by op",
    "colours before enlarging",
    "cropping decoder",
    "colours on the device",
)
# The streams with one further augmentation each, by settings of `augment`.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    f"{name} {value:g}": {name: value}
    for name, value in {
        "balanced_crop": 0.5,
        "rotation": 10.0,
        "blur": 1.0,
        "grey": 0.2,
        "cut_out": 0.5,
        "class_mix": 0.5,
        "copy_paste": 0.5,
    }.items()
}

PEER_WORKER = peer.WORKERS / "reference_pipeline.py"


def benchmark_config(root: Path) -> Config:
    """Returns a configuration with VOC's augmentation and batch on VOC-like images.

    Args:
        root: folder of the images; records go into its folder `records`.
    """
    classes = [f"class {index}" for index in range(NUM_CLASSES)]
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


class StreamSpeed(NamedTuple):
    """Speed of one stream beside another one, a row of the table."""

    name: str
    rates: list[float]
    """Images per second of a core, one per round."""
    ratios: list[float]
    """Rate divided by that of the stream it is compared with, one per round."""
    core_share: float
    """Median share of the core that the process got, 1 on a quiet machine."""

    def to_dict(self) -> dict:
        """Returns everything about the stream, for JSON."""
        return {
            "name": self.name,
            "images_per_second": statistics.median(self.rates),
            "ratio": statistics.median(self.ratios),
            "rates": self.rates,
            "ratios": self.ratios,
            "core_share": self.core_share,
        }


class Bench:
    """Data and the processes that work on it; a context manager, which ends them."""

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

    def data(self, name: str = "voc", num_images: int = NUM_IMAGES, **options) -> Path:
        """Draws images, converts them, and returns their folder.

        Args:
            name: name of the new folder.
            num_images: number of images to draw.
            options: further arguments of `write_voc_like`.
        """
        root = self.folder / name
        write_voc_like(root, num_images, **options)
        ensure_records(benchmark_config(root), ["train"])
        return root

    def ours(self, root: Path) -> Worker:
        """Starts a worker of ours for one stream of `streams.py`."""
        command = own_command("pipeline.streams", root, self.core)
        return self._workers.enter_context(Worker(command))

    def peer(self, python: Path, root: Path) -> Worker:
        """Starts a worker of mmsegmentation with its environment's python."""
        command = [python, PEER_WORKER, root, "--core", self.core]
        return self._workers.enter_context(Worker(command))

    def compare(
        self, sides: Sequence[tuple[str, Worker, str]], base: str
    ) -> list[StreamSpeed]:
        """Measures streams in turn, after one more round that does not count.

        Args:
            sides: title, worker and name of each stream.
            base: title of the stream to which the ratios are.
        """
        turns: dict[str, list[Measurement]] = {title: [] for title, *_ in sides}
        bar = tqdm(total=(self.rounds + 1) * len(sides), desc="rounds", disable=None)
        with bar:
            for _ in range(self.rounds + 1):
                for title, worker, stream in sides:
                    turns[title].append(worker.measure(stream, self.seconds))
                    bar.update()
        rates = {title: [m.rate for m in ms[1:]] for title, ms in turns.items()}
        return [
            StreamSpeed(
                title,
                rates[title],
                [rate / other for rate, other in zip(rates[title], rates[base])],
                statistics.median(m.cpu / m.wall for m in turns[title][1:]),
            )
            for title, *_ in sides
        ]


def compare_with_peer(bench: Bench, python: Path) -> list[StreamSpeed]:
    """Compares our pipeline with mmsegmentation's, without and with normalisation."""
    root = bench.data()
    sides = [
        ("ours", bench.ours(root), "uint8"),
        ("ours, normalised", bench.ours(root), "normalised"),
    ]
    if peer.find(python) is None:
        return bench.compare(sides, "ours")
    peer_worker = bench.peer(python, root)
    speeds = []
    for title, ours, stream in sides:
        peer_title = title.replace("ours", peer.NAME)
        speeds += bench.compare(
            [(peer_title, peer_worker, stream), (title, ours, stream)], peer_title
        )
    return speeds


def compare_leads(bench: Bench) -> list[StreamSpeed]:
    """Compares other ways to build the pipeline with the one in use."""
    root = bench.data()
    base = "in use"
    sides = [(base, bench.ours(root), "uint8")]
    sides += [(name, bench.ours(root), name) for name in LEADS]
    speeds = bench.compare(sides, base)

    root = bench.data("large", NUM_LARGE, size=LARGE_SIZE)
    base = f"in use, {LARGE_SIZE[1]}x{LARGE_SIZE[0]}"
    sides = [(base, bench.ours(root), "uint8")]
    sides += [("scaled decoder, the same", bench.ours(root), "scaled decoder")]
    return speeds + bench.compare(sides, base)


def compare_augmentations(bench: Bench) -> list[StreamSpeed]:
    """Compares the streams that have a further augmentation with the one in use."""
    root, base = bench.data(), "in use"
    sides = [(base, bench.ours(root), "uint8")]
    return bench.compare(
        sides + [(name, bench.ours(root), name) for name in AUGMENTATIONS], base
    )


def memory_over_samples(bench: Bench) -> dict[int, float]:
    """Measures the resident memory of our process, MB, by the number of samples."""
    worker = bench.ours(bench.data())
    megabytes: dict[int, float] = {}
    images = 0
    with tqdm(total=MEMORY_SAMPLES[-1], desc="memory", disable=None) as bar:
        for limit in MEMORY_SAMPLES:
            while images < limit:
                measurement = worker.measure("uint8", 1.0)
                images += measurement.images
                bar.update(measurement.images)
            megabytes[limit] = measurement.memory
    return megabytes


def table(speeds: Sequence[StreamSpeed]) -> str:
    """Returns a table of medians, and of the range of the ratios over the rounds."""
    lines = [["", "images/s", "ratio", "from", "to", "core"]]
    for speed in speeds:
        ratios = [statistics.median(speed.ratios), min(speed.ratios), max(speed.ratios)]
        rate = f"{statistics.median(speed.rates):.1f}"
        shares = [f"{ratio:.2f}" for ratio in ratios]
        lines.append([speed.name, rate, *shares, f"{speed.core_share:.0%}"])
    return tables.aligned(lines, num_words=1)
