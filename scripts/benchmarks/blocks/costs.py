"""Costs of each context block: parameters, multiply-adds, time and memory."""

import json
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from tqdm import tqdm

from benchmarks import turns
from benchmarks.blocks.peak_memory import ENVIRONMENT
from benchmarks.workers import environment, own_command
from gcnet_tf.errors import UserError

# The others are compared with the first one.
BLOCKS = ("gc", "snl", "se", "nl")
SIZES = ((64, 64), (97, 97))
CHANNELS = 512
FORWARD, INFERENCE, TRAINING = PASSES = ("forward", "inference", "training")
"""Forward as in training; the form that is evaluated and exported; forward and
backward."""

# GC's promise at the largest size: NL takes at least so many times as much.
PROMISED_TIME, PROMISED_MEMORY = 20, 50


class BlockCost(NamedTuple):
    """Costs of one block at one size, batch 1."""

    block: str
    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    """Number of multiply-adds of the forward pass."""
    peak_bytes: dict[str, int]
    """Peak memory without inputs and results, by pass."""
    bound_bytes: int | None
    """Upper bound of the peak memory of `FORWARD` that the block itself states."""
    times: dict[str, turns.Timing]
    """Timings by pass; ratios are to the first block in the same round."""

    def to_dict(self) -> dict:
        """Returns all costs, for JSON."""
        times = {name: timing.to_dict() for name, timing in self.times.items()}
        return {**self._asdict(), "times": times}


def measure(
    blocks: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    channels: int,
    rounds: int,
    seconds: float,
    threads: int,
) -> list[BlockCost]:
    """Counts each block, then times all blocks in turn.

    Args:
        blocks: names for `make_context`; ratios are to the first one.
        sizes: (height, width) of each input.
        channels: channels of the input.
        rounds, seconds, threads: see `turns.measure`.
    """
    costs = []
    cases = [(size, block) for size in sizes for block in blocks]
    counts = {
        (size, block): count(block, size, channels)
        for size, block in tqdm(cases, desc="memory", disable=None)
    }
    for size in sizes:
        times: dict[str, dict[str, turns.Timing]] = {block: {} for block in blocks}
        for pass_name in PASSES:
            candidates = [
                _candidate(block, pass_name, size, channels, threads)
                for block in blocks
            ]
            timings = turns.measure(candidates, rounds, seconds, threads)
            for block, timing in zip(blocks, timings):
                times[block][pass_name] = timing
        costs += [
            BlockCost(block, size, **counts[size, block], times=times[block])
            for block in blocks
        ]
    return costs


def count(block: str, size: tuple[int, int], channels: int) -> dict:
    """Counts parameters, multiply-adds and peak memory in a process of its own.

    Raises:
        UserError: when the process fails.
    """
    command = own_command("blocks.worker", "count", block, *size, channels)
    result = subprocess.run(
        list(map(str, command)),
        env={**environment(), **ENVIRONMENT},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if result.returncode:
        raise UserError(f"Counting the block '{block}' failed: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def _candidate(
    block: str, pass_name: str, size: tuple[int, int], channels: int, threads: int
) -> turns.Candidate:
    name = "{}, {} {}x{}".format(block, pass_name, *size)
    command = own_command(
        "blocks.worker", "time", block, pass_name, *size, channels, threads
    )
    return turns.Candidate(name, "features", command, None)


def promises(costs: Sequence[BlockCost]) -> list[str]:
    """Says of each promise about GC at the largest size whether it is kept."""
    # Sizes grow, so a block's last cost is that of the largest size.
    largest = {cost.block: cost for cost in costs}
    gc, nl = largest["gc"], largest["nl"]
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


def _promise(claim: str, ratio: float, promised: float) -> str:
    verdict = "kept" if ratio >= promised else "BROKEN"
    return f"{claim}: {ratio:.1f}; promised: at least {promised}: {verdict}"
