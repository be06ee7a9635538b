"""`scripts/benchmark.py evaluate`, from its arguments to what it prints."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import evaluate, evaluate_report, infer
from benchmarks.arguments import EVALUATION_MODES, check_threads
from benchmarks.evaluate_files import CONFIG, OURS, PEER
from benchmarks.infer_command import apart
from benchmarks.infer_report import facts, header
from gcnet_tf.commands.cli import make_folder


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Gathers what is to be evaluated, measures, shows and writes the result.

    Args:
        args: see `arguments.add_evaluate_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    check_threads(args)
    if args.out:
        make_folder(args.out)
    modes = [mode for mode in EVALUATION_MODES if mode in (args.mode or [mode])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(lambda: _prepare(args, folder, start_tensorflow))
        sides = [(OURS, evaluate.our_command(folder, args.threads))]
        peer_versions = ""
        if args.peer_python.is_file():
            command = evaluate.peer_command(args.peer_python, folder, args.threads)
            sides.insert(0, (PEER, command))
            peer_versions = infer.peer_versions(args.peer_python)
        else:
            print(
                f"mmsegmentation is left out: there is no {args.peer_python}. `make "
                ".venv-parity/installed` makes it, --peer-python names another."
            )
        rows = evaluate.measure(sides, modes, folder, args.rounds, args.threads)
        evaluation = json.loads((folder / CONFIG).read_text())["evaluation"]
    content = facts(args.command_line, rows, peer_versions)
    content |= {key: evaluation[key] for key in ("window", "stride")}
    print(header(content), evaluate_report.table(content, rows), sep="\n\n")
    if args.out:
        evaluate_report.write(args.out, content, rows)
        print(f"\nWritten: {args.out / evaluate_report.NAME}.json, .md, .png")


def _prepare(
    args: argparse.Namespace, folder: Path, start_tensorflow: Callable[[], None]
) -> None:
    start_tensorflow()
    from benchmarks.evaluate_data import prepare

    prepare(args.cfg, args.model, args.set, args.images, folder)
