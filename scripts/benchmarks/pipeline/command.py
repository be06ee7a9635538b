"""The command `scripts/benchmark.py pipeline`, from its arguments to what it prints."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.pipeline import bench


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures speed or memory, prints the result, and writes it to `--json`.

    Args:
        args: see `arguments.add_pipeline_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    start_tensorflow()
    facts: dict
    with (
        tempfile.TemporaryDirectory() as folder,
        bench.Bench(Path(folder), args.rounds, args.seconds) as prepared,
    ):
        if args.memory:
            facts = {"memory_mb": bench.memory_over_samples(prepared)}
            for num_samples, memory in facts["memory_mb"].items():
                print(f"after {num_samples:>6,} samples: {memory:,.0f} MB")
        else:
            if args.leads:
                speeds = bench.compare_leads(prepared)
            elif args.augmentations:
                speeds = bench.compare_augmentations(prepared)
            else:
                speeds = bench.compare_with_peer(prepared, args.peer_python)
            print(bench.table(speeds))
            facts = {"rows": [speed.to_dict() for speed in speeds]}
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
