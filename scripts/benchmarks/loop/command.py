"""The command `scripts/benchmark.py loop`: what the training loop adds to its steps."""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import KERAS_PACKAGES, Report, machine_facts

# Least iterations per second, as a share of those of bare steps.
_LEAST = 0.95
_HEAD = ("round", "bare ms", "loop ms", "ratio")
_NOTES = """\
ms: mean time of an iteration. bare: `train_step` with the next batch, no more; loop:
`gcnet_tf.training.train` with its log, TensorBoard and progress. ratio: iterations per
second of the loop, divided by those of bare steps."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures the loop and bare steps in turn, and publishes the report.

    Args:
        args: see `arguments.add_loop_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    start_tensorflow()
    from benchmarks.loop.windows import measure

    with tempfile.TemporaryDirectory() as folder:
        windows = measure(args.rounds, args.iterations, Path(folder))
    median = statistics.median(window.ratio for window in windows)
    lines: list[tuple[str, ...]] = [_HEAD]
    for number, window in enumerate(windows, start=1):
        times = (window.bare / args.iterations, window.loop / args.iterations)
        cells = (f"{1000 * seconds:.2f}" for seconds in times)
        lines.append((str(number), *cells, f"{window.ratio:.3f}"))
    verdict = "kept" if median >= _LEAST else "not kept"
    rows = [window._asdict() | {"ratio": window.ratio} for window in windows]
    Report(
        "benchmark_loop",
        "The training loop beside bare steps",
        machine_facts(args.command_line, KERAS_PACKAGES) | {"rows": rows},
        lines=lines,
        notes=_NOTES,
        num_words=1,
        verdicts=[f"median ratio {median:.3f}, at least {_LEAST}: {verdict}"],
    ).publish(args.out)
