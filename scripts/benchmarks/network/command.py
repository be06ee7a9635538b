"""The command `scripts/benchmark.py network`: steps of two hosts over the delay."""

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from benchmarks.network.hosts import Hosts, why_no_relay
from benchmarks.network.worker import OWN, SYNCHRONISED
from benchmarks.report import KERAS_PACKAGES, Report, machine_facts
from benchmarks.workers import own_command
from gcnet_tf.config import config_to_dict, format_json, load_config
from gcnet_tf.errors import UserError

# Milliseconds on the way; those of the relay itself come on top.
_DELAYS = (0.0, 0.2, 1.0, 5.0, 20.0)
# All layers of the published network, a sixteenth of its width: the exchanges are as
# many as the published one has, and nothing else takes long.
_SETTINGS = (
    "model.backbone.base_channels=4",
    "model.head.channels=32",
    "model.auxiliary.channels=16",
    "augment.crop_size=[64,64]",
    "train.batch_size=2",
    "train.strategy=multi_worker",
)
_STREAMS = ("exchange", SYNCHRONISED, OWN)
_HEAD = (
    *("delay", "one exchange ms"),
    *("SyncBN: exchanges", "ms a step", "steps/s"),
    *("own statistics: exchanges", "ms a step", "steps/s"),
)
_NOTES = """\
delay: of a packet, one way, beside what the relay needs itself. one exchange: a number
that both workers add up. SyncBN: normalisation by the batches of both workers, as in
training; own statistics: each worker by its own batch, which training never does, to
show what SyncBN costs. exchanges: of a training step, counted in its graph. Times are
medians."""


class Row(NamedTuple):
    """Measurements with one delay; seconds are medians."""

    delay: float
    """Milliseconds that the relay holds a packet up, one way."""
    exchange: float
    synchronised: float
    own: float


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures training steps of two hosts, and publishes the report.

    Args:
        args: see `arguments.add_network_arguments`.
        start_tensorflow: called before TensorFlow is imported.

    Raises:
        UserError: where this process may not make hosts.
    """
    start_tensorflow()
    if reason := why_no_relay():
        raise UserError(
            f"Two hosts cannot be made here: {reason}. Run it as root on Linux, in a "
            "container with --cap-add=NET_ADMIN --cap-add=SYS_ADMIN "
            "--device=/dev/net/tun."
        )
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        settings = config_to_dict(load_config(args.cfg, _SETTINGS))
        config.write_text(format_json(settings), encoding="utf-8")
        rows, counts = measure(config, args.rounds)
    lines: list[Sequence[str]] = [_HEAD]
    for row in rows:
        line = [f"{row.delay:g} ms", f"{1000 * row.exchange:.1f}"]
        for name, seconds in ((SYNCHRONISED, row.synchronised), (OWN, row.own)):
            line += [str(counts[name]), f"{1000 * seconds:.0f}", f"{1 / seconds:.2f}"]
        lines.append(line)
    facts = {"rows": [row._asdict() for row in rows], "exchanges": counts}
    Report(
        "benchmark_network",
        "Training steps of two hosts over the delay of their network",
        machine_facts(args.command_line, KERAS_PACKAGES) | facts,
        lines=lines,
        notes=_NOTES,
        settings=f"{args.cfg} with {', '.join(_SETTINGS)}",
        num_words=1,
    ).publish(args.out)


def measure(config: Path, rounds: int) -> tuple[list[Row], dict[str, int]]:
    """Measures steps with each delay.

    Args:
        config: file of the configuration.
        rounds: number of steps of each kind, in turn.

    Returns:
        measurements, and the number of exchanges by the kind of step.
    """
    with Hosts(relayed=True) as hosts, _Pair(hosts, config) as pair:
        counts, _ = pair.ask("count")
        for name in _STREAMS:  # the first one is slow
            pair.ask(f"{name} 1")
        rows = []
        for delay in tqdm(_DELAYS, desc="delays", disable=None):
            hosts.set_delay(delay / 1000)
            rows.append(_row(delay, pair, rounds))
    return rows, counts


def _row(delay: float, pair: "_Pair", rounds: int) -> Row:
    seconds: dict[str, list[float]] = {name: [] for name in _STREAMS}
    for _ in range(rounds):
        for name, times in seconds.items():
            # The slower worker, for which the other one waits.
            times += map(max, zip(*pair.ask(f"{name} 1")))
    return Row(delay, *map(statistics.median, seconds.values()))


class _Pair:
    """A `worker` on each host."""

    def __init__(self, hosts: Hosts, config: Path):
        self._hosts = hosts
        self._command = own_command("network.worker", config)
        self._workers: list[tuple[subprocess.Popen, IO[str]]] = []
        self._stack = ExitStack()

    def __enter__(self) -> "_Pair":
        for index in range(2):
            errors = self._stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8")
            )
            worker = self._hosts.start(
                index,
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
            self._workers.append((worker, errors))
        return self

    def __exit__(self, *error: object) -> None:
        for worker, _ in self._workers:
            worker.kill()
            worker.communicate()
        self._stack.close()

    def ask(self, line: str) -> list[Any]:
        """Returns the answers of both workers to a line.

        Raises:
            UserError: with what a worker wrote, when it has ended.
        """
        for worker, _ in self._workers:
            assert worker.stdin
            try:
                worker.stdin.write(f"{line}\n")
                worker.stdin.flush()
            except BrokenPipeError:
                pass  # it has ended; there is no answer below
        return [self._answer(*worker) for worker in self._workers]

    def _answer(self, worker: subprocess.Popen, errors: IO[str]) -> Any:
        assert worker.stdout
        for text in worker.stdout:
            if text.startswith("answer "):
                return json.loads(text.removeprefix("answer "))
        errors.seek(0)
        raise UserError(f"A worker has ended: {errors.read()[-2000:].strip()}")
