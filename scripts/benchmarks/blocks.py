"""What each context block costs: parameters, multiply-adds, time and memory."""

import json
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from tqdm import tqdm

from benchmarks import infer
from benchmarks.peak_memory import ENVIRONMENT
from benchmarks.workers import environment, own_command
from gcnet_tf.errors import UserError

# The first is what the others are compared with.
BLOCKS = ("gc", "snl", "se", "nl")
SIZES = ((64, 64), (97, 97))
CHANNELS = 512
FORWARD, INFERENCE, TRAINING = PASSES = ("forward", "inference", "training")
"""As in training; in the form that is evaluated and exported; forward and backward."""

# What GC promises at the largest size: NL takes at least so many times as much.
PROMISED_TIME, PROMISED_MEMORY = 20, 50


class Cost(NamedTuple):
    """What one block costs at one size, batch 1."""

    block: str
    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    """Of the forward pass."""
    peak_bytes: dict[str, int]
    """By pass: the most memory at a time beyond what goes in and what comes out."""
    bound_bytes: int | None
    """What the block itself promises for that of `FORWARD`."""
    times: dict[str, infer.Row]
    """By pass; ratios are to the first block in the same round."""

    def to_dict(self) -> dict:
        times = {name: row.to_dict() for name, row in self.times.items()}
        return {**self._asdict(), "times": times}


def measure(
    blocks: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    channels: int,
    rounds: int,
    seconds: float,
    threads: int,
) -> list[Cost]:
    """Counts each block, then times them: in every round each has its turn.

    Args:
        blocks: names of `make_context`; the others are compared with the first one.
        sizes: (height, width) of the input.
        channels: of the input.
        rounds, seconds, threads: see `infer.measure`.
    """
    costs = []
    todo = [(size, block) for size in sizes for block in blocks]
    counts = {
        (size, block): count(block, size, channels)
        for size, block in tqdm(todo, desc="memory", disable=None)
    }
    for size in sizes:
        times: dict[str, dict[str, infer.Row]] = {block: {} for block in blocks}
        for which in PASSES:
            candidates = [
                _candidate(block, which, size, channels, threads) for block in blocks
            ]
            rows = infer.measure(candidates, rounds, seconds, threads)
            for block, row in zip(blocks, rows):
                times[block][which] = row
        costs += [
            Cost(block, size, **counts[size, block], times=times[block])
            for block in blocks
        ]
    return costs


def count(block: str, size: tuple[int, int], channels: int) -> dict:
    """Parameters, multiply-adds and peak memory, in a process of its own.

    Raises:
        UserError: when the process fails.
    """
    command = own_command("block_worker", "count", block, *size, channels)
    result = subprocess.run(
        list(map(str, command)),
        env={**environment(), **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise UserError(f"Counting the block '{block}' failed: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def _candidate(
    block: str, which: str, size: tuple[int, int], channels: int, threads: int
) -> infer.Candidate:
    name = "{}, {} {}x{}".format(block, which, *size)
    command = own_command(
        "block_worker", "time", block, which, *size, channels, threads
    )
    return infer.Candidate(name, "features", command, None)


def kept(costs: Sequence[Cost]) -> list[str]:
    """What is promised of GC at the largest size, each with what was measured."""
    found = {cost.block: cost for cost in costs}  # of a block the last size
    gc, nl = found["gc"], found["nl"]
    size = "{}x{}".format(*gc.size)
    memory = nl.peak_bytes[FORWARD] / gc.peak_bytes[FORWARD]
    time = nl.times[FORWARD].ratio / gc.times[FORWARD].ratio
    assert nl.bound_bytes is not None
    return [
        _promise(f"forward time at {size}, nl : gc", time, PROMISED_TIME),
        _promise(f"forward memory at {size}, nl : gc", memory, PROMISED_MEMORY),
        _promise(
            f"forward memory of nl at {size}, stated bound : measured",
            nl.bound_bytes / nl.peak_bytes[FORWARD],
            1,
        ),
    ]


def _promise(what: str, ratio: float, promised: float) -> str:
    verdict = "kept" if ratio >= promised else "BROKEN"
    return f"{what}: {ratio:.1f}; promised: at least {promised}: {verdict}"
