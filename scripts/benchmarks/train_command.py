"""`scripts/benchmark.py train`: a training step beside mmsegmentation's in PyTorch."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import infer, infer_report
from benchmarks.arguments import check_threads
from benchmarks.workers import own_command
from gcnet_tf.commands.cli import make_folder
from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import parse_size

REPORT = infer_report.Report(
    "benchmark_train",
    "A training step beside mmsegmentation's",
    of="a step",
    to="the same precision in mmsegmentation",
)
PEER = infer.PEER.with_name("reference_train.py")
# Ours, and what PyTorch calls autocast.
PRECISIONS = {"float32": "fp32", "mixed_bfloat16": "bf16"}


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures each precision beside the same one of PyTorch, shows and writes it.

    Args:
        args: see `arguments.add_train_arguments`.
        start_tensorflow: not called; workers import it.

    Raises:
        UserError: for arguments that name nothing to measure.
    """
    size = parse_size(args.size)
    check_threads(args)
    if args.batch < 1:
        raise UserError(f"--batch: received {args.batch}; it is at least 1.")
    if args.out:
        make_folder(args.out)
    peer = args.peer_python if args.peer_python.is_file() else None
    if peer is None:
        print(
            f"mmsegmentation is left out: there is no {args.peer_python}. `make "
            ".venv-parity/installed` makes it, --peer-python names another."
        )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            config = load_config(args.cfg, [f"train.precision={precision}"])
            numbers = [args.batch, *size, args.threads]
            candidates = _candidates(config, numbers, peer, Path(folder))
            # Each precision by itself: its first row is what its ratios are to.
            rows += infer.measure(
                list(candidates), args.rounds, args.seconds, args.threads
            )
    versions = infer.peer_versions(peer) if peer else ""
    content = infer_report.facts(args.command_line, rows, versions)
    print(infer_report.header(content), infer_report.table(rows, REPORT), sep="\n\n")
    if args.out:
        infer_report.write(args.out, content, rows, REPORT)
        print(f"\nWritten: {args.out / REPORT.name}.json, .md, .png")


def _candidates(
    config: Config, numbers: list[int], peer: Path | None, folder: Path
) -> Iterator[infer.Candidate]:
    precision = config.train.precision
    short = PRECISIONS[precision]
    gives = "{}x{}x{}".format(*numbers)
    if peer:
        network = json.dumps(infer.network_of(config_to_dict(config), _classes(config)))
        command = [peer, PEER, short, network, *numbers]
        yield infer.Candidate(f"mmsegmentation, PyTorch {short}", gives, command, None)
    file = folder / f"{precision}.json"
    file.write_text(json.dumps(config_to_dict(config)))
    command = own_command("train_worker", file, *numbers)
    yield infer.Candidate(f"gcnet_tf {precision}", gives, command, None)


def _classes(config: Config) -> int:
    return facts_of(config.data).num_classes
