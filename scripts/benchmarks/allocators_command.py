"""`scripts/benchmark.py allocators`, from its arguments to what it prints."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import allocators, infer_report, tables
from benchmarks.arguments import check_threads
from gcnet_tf.commands.cli import make_folder
from gcnet_tf.errors import UserError

NAME = "benchmark_allocators"
_NOTES = """\
ms: median time of a step or an image; core-s: seconds of a core for it; faults: pages
that the system had to give for it; MB: peak memory of the process. Each ratio is to
the first allocator; that of the time is the median over the rounds."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures each workload under each allocator, shows and writes the result.

    Args:
        args: see `arguments.add_allocators_arguments`.
        start_tensorflow: not called; workers import it.

    Raises:
        UserError: for a workload that there is not.
    """
    check_threads(args)
    if args.out:
        make_folder(args.out)
    here, missing = allocators.available()
    print(*missing, sep="\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = list(allocators.workloads(args.exports, folder, args.threads))
        chosen = [each for each in found if args.only in each.name]
        if not chosen:
            names = "; ".join(each.name for each in found)
            raise UserError(
                f'--only: received "{args.only}", which is in no workload: {names}.'
            )
        costs = []
        for each in chosen:
            rounds = (args.rounds, args.seconds, args.threads)
            costs += allocators.measure(each, here, *rounds)
    content = infer_report.facts(args.command_line, costs, peer_versions="")
    lines = [allocators.HEAD, *(each.cells() for each in costs)]
    header = infer_report.header(content)
    print(header, tables.aligned(lines), _NOTES, sep="\n\n")
    if args.out:
        file = args.out / f"{NAME}.json"
        file.write_text(json.dumps(content, indent=2) + "\n")
        file.with_suffix(".md").write_text(
            f"# Allocators on a processor\n\n```\n{header}\n```\n\n"
            f"{tables.markdown(lines)}\n\n{_NOTES}\n"
        )
        print(f"\nWritten: {args.out / NAME}.json, .md")
