"""Measures speed, always of two things in turn.

Times hold for this machine; ratios hold more generally.

python scripts/benchmark.py infer
python scripts/benchmark.py evaluate --model runs/camvid_r18 --images 101
"""

from collections.abc import Sequence

from benchmarks import arguments
from benchmarks.allocators import command as allocators
from benchmarks.blocks import command as blocks
from benchmarks.convolutions import command as convolutions
from benchmarks.engines import command as engines
from benchmarks.evaluate import command as evaluate
from benchmarks.infer import callers
from benchmarks.infer import command as infer
from benchmarks.infer import mobile
from benchmarks.large import command as large
from benchmarks.loop import command as loop
from benchmarks.network import command as network
from benchmarks.pipeline import command as pipeline
from benchmarks.protocol import command as protocol
from benchmarks.table import command as table
from benchmarks.train import command as train
from gcnet_tf.commands import cli

# name: what runs it, what adds its arguments, its help
COMMANDS = {
    "table": (
        table.run,
        arguments.add_table_arguments,
        "memory and images per second of the published rows, beside a V100's",
    ),
    "infer": (
        infer.run,
        arguments.add_infer_arguments,
        "time, memory and size of every format, beside mmsegmentation",
    ),
    "callers": (
        callers.run,
        arguments.add_callers_arguments,
        "images per second of 1, 2 and 4 threads that share an exported file",
    ),
    "train": (
        train.run,
        arguments.add_train_arguments,
        "time and memory of a training step, beside mmsegmentation's",
    ),
    "loop": (
        loop.run,
        arguments.add_loop_arguments,
        "iterations per second of the training loop, beside bare steps",
    ),
    "network": (
        network.run,
        arguments.add_network_arguments,
        "training steps of two hosts over the delay of their network",
    ),
    "evaluate": (
        evaluate.run,
        arguments.add_evaluate_arguments,
        "images per second of an evaluation, beside mmsegmentation's",
    ),
    "protocol": (
        protocol.run,
        arguments.add_protocol_arguments,
        "time of resizing, windows and averages, beside the network's",
    ),
    "pipeline": (
        pipeline.run,
        arguments.add_pipeline_arguments,
        "images per second of a core, beside mmsegmentation's pipeline",
    ),
    "large": (
        large.run,
        arguments.add_large_arguments,
        "start, memory and shuffling of a training on a million samples or more",
    ),
    "engines": (
        engines.run,
        arguments.add_engines_arguments,
        "images per second and core of a conversion by engines of Apache Beam",
    ),
    "convolutions": (
        convolutions.run,
        arguments.add_convolutions_arguments,
        "Winograd convolution beside TensorFlow's, and other leads",
    ),
    "allocators": (
        allocators.run,
        arguments.add_allocators_arguments,
        "time, page faults and memory under each allocator",
    ),
    "blocks": (
        blocks.run,
        arguments.add_blocks_arguments,
        "parameters, multiply-adds, time and memory of context blocks",
    ),
    "mobile": (
        mobile.run,
        arguments.add_mobile_arguments,
        "int8 TFLite files of several networks beside each other",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, add_arguments, text) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=text))
    args = parser.parse_args(argv)
    args.command_line = cli.command_line("benchmark", argv)
    arguments.check(args)
    COMMANDS[args.command][0](args, cli.start_tensorflow)
    return 0


if __name__ == "__main__":
    cli.run(main)
