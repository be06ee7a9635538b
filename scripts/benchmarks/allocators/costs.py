"""Costs of workloads under several allocators: time, page faults and memory.

glibc gives a large tensor back to the system when it is freed, and the next one costs a
page fault for every 4 KB again. `gcnet_tf.processor.set_defaults` follows from these
measurements.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import turns
from benchmarks.infer.candidates import exported_files, file_command
from benchmarks.workers import own_command
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.processor import ALLOCATOR, ONEDNN

_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
# Raised thresholds of glibc: it makes no mappings, and never gives memory back.
_KEEP_PAGES = (
    "MALLOC_MMAP_MAX_=0",
    "MALLOC_TRIM_THRESHOLD_=1000000000000",
    "MALLOC_TOP_PAD_=67108864",
    "MALLOC_ARENA_MAX=1",
)


class Allocator(NamedTuple):
    """An allocator, and the way to give it to a process."""

    name: str
    environment: tuple[str, ...]
    """Settings NAME=VALUE of the process's environment."""
    library: Path | None = None
    """Library to preload."""


# The others are compared with the first one.
ALLOCATORS = (
    Allocator("glibc", ()),
    Allocator("glibc, pages kept", _KEEP_PAGES),
    Allocator("TensorFlow's BFC", (f"{ALLOCATOR}=true",)),
    Allocator(
        "jemalloc, pages kept",
        ("MALLOC_CONF=dirty_decay_ms:-1,muzzy_decay_ms:-1",),
        _LIBRARIES / "libjemalloc.so.2",
    ),
    Allocator("tcmalloc", (), _LIBRARIES / "libtcmalloc_minimal.so.4"),
    # With oneDNN's kernels TensorFlow takes another allocator, which keeps its pages.
    # It does so by itself where the processor has instructions for neural networks.
    # Elsewhere the kernels are not safe, see `set_defaults`.
    Allocator("oneDNN on", (f"{ONEDNN}=1",)),
)


class Workload(NamedTuple):
    """Work that is timed, done by a worker that serves a candidate's streams."""

    name: str
    command: Sequence[object]


def available() -> tuple[list[Allocator], list[str]]:
    """Returns the allocators that are installed, and a sentence on each other one."""
    installed, missing = [], []
    for allocator in ALLOCATORS:
        if allocator.library is None or allocator.library.is_file():
            installed.append(allocator)
        else:
            missing.append(
                f"{allocator.name} is left out: there is no {allocator.library} "
                "(Debian: apt-get install libtcmalloc-minimal4 libjemalloc2)."
            )
    return installed, missing


def workloads(exports: Path | None, folder: Path, threads: int) -> Iterator[Workload]:
    """Yields the workloads: training, evaluation's graph, and exported files.

    Args:
        exports: folder with exports for images of 512x512; None for no files.
        folder: folder for configurations.
        threads: number of threads of each workload.
    """
    for name, cfg, precision, batch_and_size in (
        (
            "training, shapes_r18, 8x128x128, fp32",
            "shapes_r18",
            "float32",
            (8, 128, 128),
        ),
        ("training, R18, 2x256x256, fp32", "voc_r18_20k", "float32", (2, 256, 256)),
        ("training, R50, 2x256x256, fp32", "voc_r50_20k", "float32", (2, 256, 256)),
        (
            "training, R50, 2x256x256, bf16",
            "voc_r50_20k",
            "mixed_bfloat16",
            (2, 256, 256),
        ),
    ):
        config = load_config(cfg, [f"train.precision={precision}"])
        file = folder / f"{cfg}_{precision}.json"
        file.write_text(json.dumps(config_to_dict(config)), encoding="utf-8")
        yield Workload(
            name, own_command("train.worker", file, *batch_and_size, threads)
        )
    size = (512, 512)
    for cfg in ("voc_r18_20k", "voc_r50_20k"):
        yield Workload(
            f"evaluation's graph, {cfg}, 512x512",
            own_command("network_worker", cfg, *size, threads),
        )
    for path in exported_files(exports) if exports else []:
        yield Workload(
            f"{path.name}, 512x512",
            file_command("file", path, [*size, threads]),
        )


class WorkloadCost(NamedTuple):
    """Costs of a workload under an allocator."""

    workload: str
    allocator: str
    timing: turns.Timing
    first: turns.Timing
    """Timing under the first allocator, for ratios."""

    @property
    def cpu(self) -> float:
        """Seconds of a core for each step or image."""
        return _cpu(self.timing)

    def cells(self) -> list[str]:
        """Returns a line of the table."""
        return [
            self.workload,
            self.allocator,
            f"{self.timing.median * 1000:.1f}",
            f"{self.timing.ratio:.2f}",
            f"{self.cpu:.3f}",
            f"{self.cpu / _cpu(self.first):.2f}",
            f"{_faults(self.timing):,.0f}",
            f"{self.timing.peak:.0f}",
            f"{self.timing.peak / self.first.peak:.2f}",
        ]

    def to_dict(self) -> dict:
        """Returns all costs, for JSON."""
        return {
            "workload": self.workload,
            "allocator": self.allocator,
            **self.timing.to_dict(),
            "core_seconds": self.cpu,
            "core_ratio": self.cpu / _cpu(self.first),
            "page_faults": _faults(self.timing),
            "peak_ratio": self.timing.peak / self.first.peak,
        }


HEAD = [
    *("workload", "allocator", "ms", "ratio", "core-s", "ratio", "faults"),
    *("MB", "ratio"),
]


def measure(
    workload: Workload,
    allocators: Sequence[Allocator],
    rounds: int,
    seconds: float,
    threads: int,
) -> list[WorkloadCost]:
    """Measures a workload under each allocator in turn."""
    candidates = [_candidate(workload, allocator) for allocator in allocators]
    timings = turns.measure(candidates, rounds, seconds, threads)
    return [
        WorkloadCost(workload.name, allocator.name, timing, timings[0])
        for allocator, timing in zip(allocators, timings)
    ]


def _candidate(workload: Workload, allocator: Allocator) -> turns.Candidate:
    # Both are set for every allocator; else the package would choose for the process.
    words = ["env", f"{ONEDNN}=0", f"{ALLOCATOR}=false", *allocator.environment]
    if allocator.library:
        words.append(f"LD_PRELOAD={allocator.library}")
    command: list[object] = [*words, *workload.command]
    return turns.Candidate(allocator.name, workload.name, command, None)


def _cpu(timing: turns.Timing) -> float:
    """Returns the seconds of a core for each run."""
    return sum(turn.cpu for turn in timing.rounds) / len(timing.times)


def _faults(timing: turns.Timing) -> float:
    """Returns the page faults of each run."""
    return sum(turn.faults for turn in timing.rounds) / len(timing.times)
