"""The command `scripts/benchmark.py infer`, from its arguments to its report."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import peer, turns
from benchmarks.infer import candidates
from benchmarks.isolation import run_in_child
from benchmarks.timing_report import Wording, timing_report
from gcnet_tf.export.plan import parse_size
from gcnet_tf.runtime.manifest import read_manifest

WORDING = Wording("benchmark_infer", "Time, memory and size of every exported format")


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Exports the model in every format, measures each, and publishes the report.

    Args:
        args: see `arguments.add_infer_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        exports = args.exports or export_in_child(args, size, folder, start_tensorflow)
        files = candidates.exported_files(exports)
        to_measure = [*candidates.own_candidates(files, size, args.threads, folder)]
        peer_python = peer.find(args.peer_python)
        if peer_python:
            manifest = read_manifest(files[0])
            network = peer.network_of(manifest.config, len(manifest.classes))
            to_measure[:0] = candidates.peer_candidates(
                peer_python, network, size, args.threads, folder
            )
        peer_versions = peer.versions(peer_python)
        timings = turns.measure(to_measure, args.rounds, args.seconds, args.threads)
    report = timing_report(WORDING, args.command_line, timings, peer_versions)
    report.publish(args.out)


def export_in_child(
    args: argparse.Namespace,
    size: tuple[int, int],
    folder: Path,
    start_tensorflow: Callable[[], None],
) -> Path:
    """Exports the model that `--cfg` or `--model` names, and returns the folder."""
    run_in_child(lambda: _export(args, size, folder, start_tensorflow))
    return folder / "exports"


def _export(
    args: argparse.Namespace,
    size: tuple[int, int],
    folder: Path,
    start_tensorflow: Callable[[], None],
) -> None:
    start_tensorflow()
    from benchmarks.infer.exports import make_exports

    make_exports(args.cfg, args.model, size, folder)
