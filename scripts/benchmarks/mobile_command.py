"""`scripts/benchmark.py mobile`: networks beside each other, as phones run them."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import infer, infer_report
from benchmarks.arguments import check_threads
from benchmarks.infer_command import apart
from benchmarks.workers import own_command
from gcnet_tf.commands.cli import make_folder
from gcnet_tf.config import load_config
from gcnet_tf.export.plan import parse_size
from gcnet_tf.runtime.manifest import LABELS, megabytes

REPORT = infer_report.Report(
    "benchmark_mobile", "Networks beside each other as int8 TFLite files"
)


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Exports each network with drawn weights, measures all in turn, shows the result.

    Args:
        args: see `arguments.add_mobile_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    check_threads(args)
    for cfg in args.cfg:
        load_config(cfg)
    if args.out:
        make_folder(args.out)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(n) / "exports" for n in range(len(args.cfg))]
        apart(lambda: _export(args.cfg, files, size, start_tensorflow))
        candidates = [
            _candidate(Path(cfg).stem, next(file.glob("*.tflite")), size, args.threads)
            for cfg, file in zip(args.cfg, files)
        ]
        rows = infer.measure(candidates, args.rounds, args.seconds, args.threads)
    content = infer_report.facts(args.command_line, rows, peer_versions="")
    print(infer_report.header(content), infer_report.table(rows, REPORT), sep="\n\n")
    if args.out:
        infer_report.write(args.out, content, rows, REPORT)
        print(f"\nWritten: {args.out / REPORT.name}.json, .md, .png")


def _candidate(
    name: str, file: Path, size: tuple[int, int], threads: int
) -> infer.Candidate:
    command = own_command("infer_worker", "file", file, *size, threads)
    return infer.Candidate(name, LABELS, command, megabytes(file))


def _export(
    configs: Sequence[str],
    folders: Sequence[Path],
    size: tuple[int, int],
    start_tensorflow: Callable[[], None],
) -> None:
    start_tensorflow()
    from benchmarks.infer_exports import drawn_model, with_drawn_images
    from gcnet_tf.export.tflite import export_tflite

    for cfg, folder in zip(configs, folders):
        config = with_drawn_images(load_config(cfg), folder.parent / "data")
        model = drawn_model(config)
        # The labels alone: enlarging scores to return them takes as long for all.
        export_tflite(
            model, config, folder, precision="int8", size=size, outputs=[LABELS]
        )
