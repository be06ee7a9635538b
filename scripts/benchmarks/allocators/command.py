"""The command `scripts/benchmark.py allocators`, from its arguments to its report."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.allocators import costs
from benchmarks.report import Report, machine_facts
from gcnet_tf.errors import UserError

_NOTES = """\
ms: median time of a step or an image; core-s: seconds of a core for it; faults: pages
that the system had to give for it; MB: peak memory of the process. Each ratio is to
the first allocator; that of the time is the median over the rounds."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures each workload under each allocator, and publishes the report.

    Args:
        args: see `arguments.add_allocators_arguments`.
        start_tensorflow: not called; workers import TensorFlow.

    Raises:
        UserError: when no workload has the name that is asked for.
    """
    installed, missing = costs.available()
    print(*missing, sep="\n")
    measured = []
    with tempfile.TemporaryDirectory() as name:
        workloads = [*costs.workloads(args.exports, Path(name), args.threads)]
        chosen = [workload for workload in workloads if args.only in workload.name]
        if not chosen:
            names = "; ".join(workload.name for workload in workloads)
            raise UserError(
                f'--only: received "{args.only}", which is in no workload: {names}.'
            )
        for workload in chosen:
            measured += costs.measure(
                workload, installed, args.rounds, args.seconds, args.threads
            )
    rows = {"rows": [cost.to_dict() for cost in measured]}
    Report(
        "benchmark_allocators",
        "Allocators on a processor",
        machine_facts(args.command_line) | rows,
        lines=[costs.HEAD, *(cost.cells() for cost in measured)],
        notes=_NOTES,
    ).publish(args.out)
