"""Measures speed, always of two things in turn: ratios hold, times are this machine's.

python scripts/benchmark.py pipeline
python scripts/benchmark.py pipeline --leads
python scripts/benchmark.py pipeline --memory
"""

import json
import tempfile
from pathlib import Path

from gcnet_tf import cli
from gcnet_tf.benchmark import pipeline
from gcnet_tf.errors import UserError


def main() -> int:
    parser = cli.script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "pipeline", help="images per second of a core, beside mmsegmentation's pipeline"
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--leads", action="store_true", help="other ways to build it")
    what.add_argument("--memory", action="store_true", help="over 10,000 samples")
    command.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    command.add_argument(
        "--seconds", type=float, default=4.0, help="of each measurement; default 4"
    )
    command.add_argument(
        "--peer-python",
        type=Path,
        default=Path(".venv-parity/bin/python"),
        metavar="FILE",
        help="of the environment with mmsegmentation; default .venv-parity/bin/python",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write it there too")
    args = parser.parse_args()
    if args.rounds < 1 or not args.seconds > 0:
        raise UserError(
            f"Received --rounds {args.rounds} and --seconds {args.seconds}; allowed "
            "are at least 1 round and more than 0 seconds."
        )

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
    return 0


if __name__ == "__main__":
    cli.run(main)
