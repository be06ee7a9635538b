"""`scripts/benchmark.py blocks`, from its arguments to what it prints."""

import argparse
from collections.abc import Callable

from benchmarks import blocks, blocks_report
from benchmarks.arguments import check_threads
from gcnet_tf.commands.cli import make_folder


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures all blocks, shows and writes the result.

    Args:
        args: see `arguments.add_blocks_arguments`.
        start_tensorflow: not called; workers import it.
    """
    check_threads(args)
    if args.out:
        make_folder(args.out)
    costs = blocks.measure(
        blocks.BLOCKS,
        blocks.SIZES,
        blocks.CHANNELS,
        args.rounds,
        args.seconds,
        args.threads,
    )
    content = blocks_report.facts(
        args.command_line, blocks.CHANNELS, args.threads, costs
    )
    print(blocks_report.table(content, costs))
    if args.out:
        blocks_report.write(args.out, content, costs)
        print(f"\nWritten: {args.out / blocks_report.NAME}.json, .md, .png")
