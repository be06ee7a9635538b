"""Measures speed, always of two things in turn: ratios hold, times are this machine's.

python scripts/benchmark.py infer
python scripts/benchmark.py infer --exports exports/shapes --size 256x256
python scripts/benchmark.py pipeline
python scripts/benchmark.py pipeline --leads
python scripts/benchmark.py pipeline --memory
"""

import argparse
import json
import tempfile
from pathlib import Path

from gcnet_tf import cli
from gcnet_tf.benchmark import arguments, infer_command, pipeline


def main() -> int:
    parser = cli.script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "infer", help="time, memory and size of every format, beside mmsegmentation"
    )
    arguments.add_infer_arguments(command)
    command = commands.add_parser(
        "pipeline", help="images per second of a core, beside mmsegmentation's pipeline"
    )
    arguments.add_pipeline_arguments(command)
    args = parser.parse_args()
    arguments.check_rounds(args)
    if args.command == "infer":
        infer_command.run(args, cli.start_tensorflow)
    else:
        measure_pipeline(args)
    return 0


def measure_pipeline(args: argparse.Namespace) -> None:
    cli.start_tensorflow()
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


if __name__ == "__main__":
    cli.run(main)
