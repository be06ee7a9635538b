"""The command `scripts/benchmark.py large`: start, memory, shuffling of large data."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.report import KERAS_PACKAGES, Report, machine_facts
from gcnet_tf.errors import UserError

_SMALL = 1000
_SMALL_SHARDS = 8
_BATCH_SIZE = 16
# Each takes some 50 microseconds.
_MOST_SHUFFLED = 10**6
_HEAD = (
    *("samples", "files", "GB", "manifest MB", "import s", "CPU s"),
    *("first step s", "CPU s", "resumed s", "CPU s", "peak MB"),
)
_NOTES = """\
import: from the command until TensorFlow is imported; first step: from the command to
the end of the first training step; CPU: of a core, all threads together, until then;
resumed: from opening the records in the middle of an epoch to the first batch; peak:
most resident memory over 50 steps of a tiny network. The first row is the same training
on small data.

{text}
After it, neighbours among {total:,} samples are so many apart, and so many in a million
are in one batch of {batch}:

{table}

nearest 1 %: a hundredth of the neighbours is no further apart. files: the order of the
records, in which a conversion has mixed the source."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures, and publishes the report.

    Args:
        args: see `arguments.add_large_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: when there are fewer samples than files.
    """
    if args.samples < args.shards:
        raise UserError(
            f"--samples: received {args.samples}; it is at least --shards, "
            f"{args.shards}."
        )
    start_tensorflow()
    from benchmarks.large import records, shuffling, starting
    from gcnet_tf.config import load_config
    from gcnet_tf.data.records.manifest import MANIFEST_FILE, read_manifest
    from gcnet_tf.data.stream.lanes import shuffle_text, window_of

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for num_samples, num_shards in (
            (_SMALL, _SMALL_SHARDS),
            (args.samples, args.shards),
        ):
            place = folder / f"records-{len(rows)}"
            config = load_config("shapes_r18", [f"data.records={place}"])
            sizes = (num_samples, num_shards, args.bytes)
            records.write_splits(config, *sizes, args.links)
            manifest = read_manifest(place, "train")
            start = starting.measure(place, folder / f"run-{len(rows)}")
            rows.append(
                {
                    "samples": num_samples,
                    "files": num_shards,
                    "bytes": sum(shard.num_bytes for shard in manifest.shards),
                    "manifest": (place / "train" / MANIFEST_FILE).stat().st_size,
                    **start._asdict(),
                }
            )
        part = shuffling.beginning(manifest, _MOST_SHUFFLED)
        window = window_of(manifest)
        order = shuffling.epoch_order(folder / "numbers", part, window, _BATCH_SIZE)
    source, line = shuffling.source_order(part), np.arange(part.num_samples)
    found = {
        "in the files": shuffling.distances(order, line, _BATCH_SIZE),
        "in a sorted source": shuffling.distances(order, source, _BATCH_SIZE),
        "a perfect shuffle": shuffling.perfect(part.num_samples, _BATCH_SIZE),
    }
    table = [("neighbours", "mean", "nearest 1 %", "in one batch")]
    for kind, apart in found.items():
        cells = (f"{apart.mean:,.0f}", f"{apart.nearest:,.0f}")
        table.append((kind, *cells, f"{1e6 * apart.together:,.0f}"))
    facts = machine_facts(args.command_line, KERAS_PACKAGES) | {"rows": rows}
    facts["shuffling"] = {kind: apart._asdict() for kind, apart in found.items()}
    Report(
        "benchmark_large",
        "Training on large data",
        facts,
        lines=[_HEAD, *map(_cells, rows)],
        notes=_NOTES.format(
            text=shuffle_text(manifest),
            total=part.num_samples,
            batch=_BATCH_SIZE,
            table=tables.markdown(table, 1),
        ),
        num_words=0,
    ).publish(args.out)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns the cells of a row, in the order of `_HEAD`."""
    seconds = [
        f"{row[name + kind]:.1f}"
        for name in ("imported", "stepped", "resumed")
        for kind in ("", "_cpu")
    ]
    sizes = (f"{row['bytes'] / 1e9:,.3f}", f"{row['manifest'] / 1e6:.3f}")
    counts = (f"{row['samples']:,}", f"{row['files']:,}")
    return (*counts, *sizes, *seconds, f"{row['peak']:,.0f}")
