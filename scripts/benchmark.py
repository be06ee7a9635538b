"""Measures speed, always of two things in turn: ratios hold, times are this machine's.

python scripts/benchmark.py infer
python scripts/benchmark.py evaluate --model runs/camvid_r18 --images 101
"""

from collections.abc import Sequence

from benchmarks import (
    allocators_command,
    arguments,
    blocks_command,
    convolutions_command,
    evaluate_command,
    infer_command,
    mobile_command,
    pipeline_command,
    train_command,
)
from gcnet_tf.commands import cli

COMMANDS = {
    "infer": (
        infer_command.run,
        arguments.add_infer_arguments,
        "time, memory and size of every format, beside mmsegmentation",
    ),
    "train": (
        train_command.run,
        arguments.add_train_arguments,
        "time and memory of a training step, beside mmsegmentation's",
    ),
    "evaluate": (
        evaluate_command.run,
        arguments.add_evaluate_arguments,
        "images per second of an evaluation, beside mmsegmentation's",
    ),
    "pipeline": (
        pipeline_command.run,
        arguments.add_pipeline_arguments,
        "images per second of a core, beside mmsegmentation's pipeline",
    ),
    "convolutions": (
        convolutions_command.run,
        arguments.add_convolutions_arguments,
        "Winograd's convolution beside TensorFlow's, and other leads",
    ),
    "allocators": (
        allocators_command.run,
        arguments.add_allocators_arguments,
        "time, page faults and memory under each allocator",
    ),
    "blocks": (
        blocks_command.run,
        arguments.add_blocks_arguments,
        "parameters, multiply-adds, time and memory of context blocks",
    ),
    "mobile": (
        mobile_command.run,
        arguments.add_mobile_arguments,
        "int8 TFLite files of several networks beside each other",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, add, text) in COMMANDS.items():
        add(commands.add_parser(name, help=text))
    args = parser.parse_args(argv)
    args.command_line = cli.command_line("benchmark", argv)
    arguments.check_rounds(args)
    COMMANDS[args.command][0](args, cli.start_tensorflow)
    return 0


if __name__ == "__main__":
    cli.run(main)
