"""The command `scripts/benchmark.py protocol`, from its arguments to its report."""

import argparse
from collections.abc import Callable

from benchmarks.report import KERAS_PACKAGES, Report, machine_facts
from benchmarks.turns import limit_tensorflow
from gcnet_tf.export.plan import parse_size

# Largest time in numpy, as a share of the network's.
_LIMIT = 0.2
_HEAD = ("mode", "network s", "numpy s", "share", "network core s", "numpy core s")
_NOTES = """\
Seconds of an image, median over the rounds. network: in the network's own calls; numpy:
all else, from the image to its counts in the confusion matrix. core s: seconds of all
cores, which other work on the machine changes less. share: of the seconds."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures the modes of an evaluation, and publishes the report.

    Args:
        args: see `arguments.add_protocol_arguments`.
        start_tensorflow: called before TensorFlow is imported.
    """
    size = parse_size(args.size)
    start_tensorflow()
    from benchmarks.protocol.shares import measure

    limit_tensorflow(args.threads)
    rows = measure(args.cfg, size, args.rounds)
    facts = machine_facts(args.command_line, KERAS_PACKAGES)
    largest = max(row.share for row in rows)
    verdict = "kept" if largest <= _LIMIT else "not kept"
    lines: list[tuple[str, ...]] = [_HEAD]
    for row in rows:
        m = row.medians
        cells = (m.network, m.numpy, row.share, m.network_cpu, m.numpy_cpu)
        lines.append((row.mode, *(f"{cell:.3f}" for cell in cells)))
    Report(
        "benchmark_protocol",
        "Time of a protocol beside its network",
        facts | {"rows": [row._asdict() | {"share": row.share} for row in rows]},
        lines=lines,
        notes=_NOTES,
        settings=f"{args.cfg}, the network's input {args.size} in mode whole",
        num_words=1,
        verdicts=[f"numpy takes at most {_LIMIT} of the network's time: {verdict}"],
    ).publish(args.out)
