"""The command `scripts/benchmark.py train`: a training step beside mmsegmentation's."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import peer, turns
from benchmarks.timing_report import Wording, timing_report
from benchmarks.workers import own_command
from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.export.plan import parse_size

WORDING = Wording(
    "benchmark_train",
    "A training step beside mmsegmentation's",
    timed="a step",
    base="the same precision in mmsegmentation",
)
PEER_WORKER = peer.WORKERS / "reference_train.py"
PRECISIONS = {"float32": "fp32", "mixed_bfloat16": "bf16"}
"""Our precisions, and the peer's, whose bf16 is PyTorch's autocast."""


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures each precision beside PyTorch's same one, and publishes the report.

    Args:
        args: see `arguments.add_train_arguments`.
        start_tensorflow: not called; workers import TensorFlow.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    peer_python = peer.find(args.peer_python)
    timings = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            settings = [*args.set, f"train.precision={precision}"]
            config = load_config(args.cfg, settings)
            numbers = [args.batch, *size, args.threads]
            candidates = _candidates(config, numbers, peer_python, Path(folder))
            # Each precision is measured by itself, so that ratios are to its first row.
            timings += turns.measure(
                list(candidates), args.rounds, args.seconds, args.threads
            )
    versions = peer.versions(peer_python)
    timing_report(WORDING, args.command_line, timings, versions).publish(args.out)


def _candidates(
    config: Config, numbers: list[int], peer_python: Path | None, folder: Path
) -> Iterator[turns.Candidate]:
    """Yields the peer's training step, if it is there, and ours.

    Args:
        config: a configuration with the precision to measure.
        numbers: batch, height, width and threads.
        peer_python: python of the peer's environment.
        folder: folder for our worker's configuration.
    """
    precision = config.train.precision
    peer_precision = PRECISIONS[precision]
    shape = "{}x{}x{}".format(*numbers)
    raw = config_to_dict(config)
    if peer_python:
        network = json.dumps(peer.network_of(raw, facts_of(config.data).num_classes))
        command = [peer_python, PEER_WORKER, peer_precision, network, *numbers]
        name = f"{peer.NAME}, PyTorch {peer_precision}"
        yield turns.Candidate(name, shape, command, None)
    file = folder / f"{precision}.json"
    file.write_text(json.dumps(raw), encoding="utf-8")
    command = own_command("train.worker", file, *numbers)
    yield turns.Candidate(f"gcnet_tf {precision}", shape, command, None)
