"""The command `scripts/benchmark.py blocks`, from its arguments to its report."""

import argparse
from collections.abc import Callable

from benchmarks.blocks import costs
from benchmarks.blocks.report import blocks_report


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures all blocks, and publishes the report.

    Args:
        args: see `arguments.add_blocks_arguments`.
        start_tensorflow: not called; workers import TensorFlow.
    """
    measured = costs.measure(
        costs.BLOCKS,
        costs.SIZES,
        costs.CHANNELS,
        args.rounds,
        args.seconds,
        args.threads,
    )
    blocks_report(args.command_line, costs.CHANNELS, args.threads, measured).publish(
        args.out
    )
