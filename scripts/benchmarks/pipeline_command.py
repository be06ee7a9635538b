"""`scripts/benchmark.py pipeline`, from its arguments to what it prints."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import pipeline


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures what is asked for, shows and writes the result.

    Args:
        args: see `arguments.add_pipeline_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    start_tensorflow()
    content: dict
    with (
        tempfile.TemporaryDirectory() as folder,
        pipeline.Bench(Path(folder), args.rounds, args.seconds) as bench,
    ):
        if args.memory:
            content = {"memory_mb": pipeline.memory_over_samples(bench)}
            for number, memory in content["memory_mb"].items():
                print(f"after {number:>6,} samples: {memory:,.0f} MB")
        else:
            if args.leads:
                rows = pipeline.compare_leads(bench)
            else:
                rows = pipeline.compare_with_peer(bench, args.peer_python)
            print(pipeline.table(rows))
            content = {"rows": [row.to_dict() for row in rows]}
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=2) + "\n")
