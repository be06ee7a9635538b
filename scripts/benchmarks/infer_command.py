"""`scripts/benchmark.py infer`, from its arguments to what it prints."""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import infer, infer_report
from benchmarks.arguments import check_threads
from gcnet_tf.commands.cli import make_folder
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import parse_size
from gcnet_tf.runtime.manifest import read_manifest


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Exports what is to be measured, measures it, shows and writes the result.

    Args:
        args: see `arguments.add_infer_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    check_threads(args)
    if args.out:
        make_folder(args.out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exports = args.exports
        if exports is None:
            exports = folder / "exports"
            apart(lambda: _export(args, size, folder, start_tensorflow))
        files = infer.exported_files(exports)
        candidates = list(infer.own_candidates(files, size, args.threads, folder))
        peer_versions = ""
        if args.peer_python.is_file():
            manifest = read_manifest(files[0])
            network = infer.network_of(manifest.config, len(manifest.classes))
            peers = infer.peer_candidates(
                args.peer_python, network, size, args.threads, folder
            )
            candidates = [*peers, *candidates]
            peer_versions = infer.peer_versions(args.peer_python)
        else:
            print(
                f"mmsegmentation is left out: there is no {args.peer_python}. `make "
                ".venv-parity/installed` makes it, --peer-python names another."
            )
        rows = infer.measure(candidates, args.rounds, args.seconds, args.threads)
    content = infer_report.facts(args.command_line, rows, peer_versions)
    print(infer_report.header(content), infer_report.table(rows), sep="\n\n")
    if args.out:
        infer_report.write(args.out, content, rows)
        print(f"\nWritten: {args.out / infer_report.INFER.name}.json, .md, .png")


def _export(
    args: argparse.Namespace,
    size: tuple[int, int],
    folder: Path,
    start_tensorflow: Callable[[], None],
) -> None:
    start_tensorflow()
    from benchmarks.infer_exports import make_exports

    make_exports(args.cfg, args.model, size, folder)


def apart(function: Callable[[], None]) -> None:
    """Runs a function in a process of its own, whose memory is gone afterwards.

    Raises:
        UserError: the function's own, or because it ended in another way.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        try:
            function()
        except UserError as error:
            sender.send(str(error))
        except KeyboardInterrupt:
            sys.exit(1)  # the other process was interrupted, too, and says so

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        message = receiver.recv()
    except EOFError:
        message = None
    process.join()
    if message is not None:
        raise UserError(message)
    if process.exitcode:
        raise UserError(
            f"The process that exports ended with {process.exitcode}; what it said is "
            "above."
        )
