"""Measures speed, always of two things in turn: ratios hold, times are this machine's.

python scripts/benchmark.py infer
python scripts/benchmark.py infer --exports exports/shapes --size 256x256
python scripts/benchmark.py pipeline
python scripts/benchmark.py pipeline --leads
python scripts/benchmark.py pipeline --memory
python scripts/benchmark.py blocks
python scripts/benchmark.py mobile
"""

from gcnet_tf import cli
from gcnet_tf.benchmark import (
    arguments,
    blocks_command,
    infer_command,
    mobile_command,
    pipeline_command,
)


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
    command = commands.add_parser(
        "blocks", help="parameters, multiply-adds, time and memory of context blocks"
    )
    arguments.add_blocks_arguments(command)
    command = commands.add_parser(
        "mobile", help="int8 TFLite files of several networks beside each other"
    )
    arguments.add_mobile_arguments(command)
    args = parser.parse_args()
    arguments.check_rounds(args)
    if args.command == "infer":
        infer_command.run(args, cli.start_tensorflow)
    elif args.command == "blocks":
        blocks_command.run(args)
    elif args.command == "mobile":
        mobile_command.run(args, cli.start_tensorflow)
    else:
        pipeline_command.run(args, cli.start_tensorflow)
    return 0


if __name__ == "__main__":
    cli.run(main)
