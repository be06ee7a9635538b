"""The command `scripts/benchmark.py mobile`: networks as phones run them."""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import turns
from benchmarks.infer.candidates import file_command
from benchmarks.isolation import run_in_child
from benchmarks.timing_report import Wording, timing_report
from gcnet_tf.config import load_config
from gcnet_tf.export.plan import parse_size
from gcnet_tf.runtime.manifest import LABELS, megabytes

WORDING = Wording("benchmark_mobile", "Networks beside each other as int8 TFLite files")


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Exports each network with drawn weights, measures all, publishes the report.

    Args:
        args: see `arguments.add_mobile_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    for cfg in args.cfg:
        load_config(cfg)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(n) / "exports" for n in range(len(args.cfg))]
        run_in_child(lambda: _export(args.cfg, folders, size, start_tensorflow))
        candidates = [
            _candidate(
                Path(cfg).stem, next(folder.glob("*.tflite")), size, args.threads
            )
            for cfg, folder in zip(args.cfg, folders)
        ]
        timings = turns.measure(candidates, args.rounds, args.seconds, args.threads)
    timing_report(WORDING, args.command_line, timings).publish(args.out)


def _candidate(
    name: str, file: Path, size: tuple[int, int], threads: int
) -> turns.Candidate:
    command = file_command("file", file, [*size, threads])
    return turns.Candidate(name, LABELS, command, megabytes(file))


def _export(
    configs: Sequence[str],
    folders: Sequence[Path],
    size: tuple[int, int],
    start_tensorflow: Callable[[], None],
) -> None:
    start_tensorflow()
    from benchmarks.drawn import drawn_model, with_drawn_images
    from gcnet_tf.export.tflite.export import export_tflite

    for cfg, folder in zip(configs, folders):
        config = with_drawn_images(load_config(cfg), folder.parent / "data")
        model = drawn_model(config)
        # Only labels: returning enlarged logits as well takes the same time for all.
        export_tflite(
            model, config, folder, precision="int8", size=size, outputs=[LABELS]
        )
