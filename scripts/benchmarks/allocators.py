"""Compares allocators: time, processor time, page faults and memory of each workload.

glibc gives a large tensor back to the system when it is freed, and the next one costs a
page fault for every 4 KB again. `gcnet_tf.processor.set_defaults` follows from these
measurements.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import infer
from benchmarks.workers import own_command
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.processor import ALLOCATOR, ONEDNN

_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
# glibc with its thresholds raised: no mappings, and nothing is ever given back.
_KEEP_PAGES = (
    "MALLOC_MMAP_MAX_=0",
    "MALLOC_TRIM_THRESHOLD_=1000000000000",
    "MALLOC_TOP_PAD_=67108864",
    "MALLOC_ARENA_MAX=1",
)


class Allocator(NamedTuple):
    """An allocator, and how a process is given it."""

    name: str
    environment: tuple[str, ...]
    library: Path | None = None
    """Preloaded."""


# The first is what the others are compared with.
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
    # With oneDNN's kernels TensorFlow takes an allocator of its own, which keeps its
    # pages: unasked, where there are instructions for neural networks. Elsewhere they
    # are not safe, see `set_defaults`.
    Allocator("oneDNN on", (f"{ONEDNN}=1",)),
)


class Workload(NamedTuple):
    """What is timed: a worker that answers `workers.serve`'s streams."""

    name: str
    command: Sequence[object]


def available() -> tuple[list[Allocator], list[str]]:
    """Divides `ALLOCATORS` into those that are here, and sentences on the others."""
    here, missing = [], []
    for each in ALLOCATORS:
        if each.library is None or each.library.is_file():
            here.append(each)
        else:
            missing.append(
                f"{each.name} is left out: there is no {each.library} (Debian: apt-get "
                "install libtcmalloc-minimal4 libjemalloc2)."
            )
    return here, missing


def workloads(exports: Path | None, folder: Path, threads: int) -> Iterator[Workload]:
    """Yields what is compared: training, evaluation's graph, and exported files.

    Args:
        exports: a folder with exports for images of 512x512, if they are compared.
        folder: for configurations.
        threads: of each.
    """
    for name, cfg, precision, numbers in (
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
        file.write_text(json.dumps(config_to_dict(config)))
        yield Workload(name, own_command("train_worker", file, *numbers, threads))
    size = (512, 512)
    for cfg in ("voc_r18_20k", "voc_r50_20k"):
        yield Workload(
            f"evaluation's graph, {cfg}, 512x512",
            own_command("network_worker", cfg, *size, threads),
        )
    for path in infer.exported_files(exports) if exports else []:
        yield Workload(
            f"{path.name}, 512x512",
            own_command("infer_worker", "file", path, *size, threads),
        )


class Cost(NamedTuple):
    """A workload under an allocator."""

    workload: str
    allocator: str
    row: infer.Row
    first: infer.Row
    """That of the first allocator."""

    @property
    def cpu(self) -> float:
        """Seconds of a core for each step or image."""
        return _cpu(self.row)

    def cells(self) -> list[str]:
        return [
            self.workload,
            self.allocator,
            f"{self.row.median * 1000:.1f}",
            f"{self.row.ratio:.2f}",
            f"{self.cpu:.3f}",
            f"{self.cpu / _cpu(self.first):.2f}",
            f"{_faults(self.row):,.0f}",
            f"{self.row.peak:.0f}",
            f"{self.row.peak / self.first.peak:.2f}",
        ]

    def to_dict(self) -> dict:
        return {
            "workload": self.workload,
            "allocator": self.allocator,
            **self.row.to_dict(),
            "core_seconds": self.cpu,
            "core_ratio": self.cpu / _cpu(self.first),
            "page_faults": _faults(self.row),
            "peak_ratio": self.row.peak / self.first.peak,
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
) -> list[Cost]:
    """Lets a workload run under each allocator in turn."""
    candidates = [_candidate(workload, each) for each in allocators]
    rows = infer.measure(candidates, rounds, seconds, threads)
    return [
        Cost(workload.name, each.name, row, rows[0])
        for each, row in zip(allocators, rows)
    ]


def _candidate(workload: Workload, allocator: Allocator) -> infer.Candidate:
    # Said in each row, or else the package itself would choose for it.
    words = ["env", f"{ONEDNN}=0", f"{ALLOCATOR}=false", *allocator.environment]
    if allocator.library:
        words.append(f"LD_PRELOAD={allocator.library}")
    command: list[object] = [*words, *workload.command]
    return infer.Candidate(allocator.name, workload.name, command, None)


def _cpu(row: infer.Row) -> float:
    return sum(each.cpu for each in row.rounds) / _runs(row)


def _faults(row: infer.Row) -> float:
    return sum(each.faults for each in row.rounds) / _runs(row)


def _runs(row: infer.Row) -> int:
    return sum(len(each.times) for each in row.rounds)
