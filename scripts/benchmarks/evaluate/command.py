"""The command `scripts/benchmark.py evaluate`, from its arguments to its report."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import peer
from benchmarks.arguments import EVALUATION_MODES
from benchmarks.evaluate import sides
from benchmarks.evaluate.files import CONFIG, OURS, PEER
from benchmarks.evaluate.report import evaluation_report
from benchmarks.isolation import run_in_child


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Prepares the images and weights, measures both sides, publishes the report.

    Args:
        args: see `arguments.add_evaluate_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    modes = [mode for mode in EVALUATION_MODES if mode in (args.mode or [mode])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_in_child(lambda: _prepare(args, folder, start_tensorflow))
        commands = [(OURS, sides.our_command(folder, args.threads))]
        peer_python = peer.find(args.peer_python)
        if peer_python:
            command = sides.peer_command(peer_python, folder, args.threads)
            commands.insert(0, (PEER, command))
        peer_versions = peer.versions(peer_python)
        timings = sides.measure(commands, modes, folder, args.rounds, args.threads)
        evaluation = json.loads((folder / CONFIG).read_text(encoding="utf-8"))[
            "evaluation"
        ]
    report = evaluation_report(args.command_line, evaluation, timings, peer_versions)
    report.publish(args.out)


def _prepare(
    args: argparse.Namespace, folder: Path, start_tensorflow: Callable[[], None]
) -> None:
    start_tensorflow()
    from benchmarks.evaluate.data import prepare

    prepare(args.cfg, args.model, args.set, args.images, folder)
