"""Tries faults of every kind, and prints how many were survived: `make faults`.

Exits with 1 when any fault was not survived. Takes half an hour on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

# The modules that tests share; pytest finds them there by itself.
_REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(_REPOSITORY / name) for name in ("tests", "scripts")]
SEED = 2026
KILLS = 20
NUM_FLIPS = 50
CONFIGURATIONS = 1000
IMAGE_TESTS = "tests/faults/test_odd_images.py"
ITERATIONS, WARM_UP = 2000, 200
# A leak of 20 KB an iteration would grow this much.
MAX_GROWTH_MB = 20
EVALUATION = (1024, 2048, 150)
# The logits of the whole image would take 1200 MB, but are computed in strips.
MAX_EVALUATION_MB = 900


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    fault: str
    tried: int
    survived: int
    details: str


def kills(folder: Path) -> list[Row]:
    """Kills each stage of the work in turn, and resumes it."""
    from kills import STAGES, kill_at_random
    from script_server import ScriptServer

    stages = [STAGES[index % len(STAGES)] for index in range(KILLS)]
    with ScriptServer(folder) as scripts:
        all_kills = []
        for kill in kill_at_random(scripts, folder, stages, SEED):
            all_kills.append(kill)
            end = "killed" if kill.killed else "ended before"
            result = kill.difference or "the same after resuming"
            text = f"{kill.stage}, {kill.moment}: {end}; {result}"
            tqdm.write(text, file=sys.stderr)
    rows = []
    for stage in STAGES:
        of_stage = [kill for kill in all_kills if kill.stage == stage]
        num_killed = sum(kill.killed for kill in of_stage)
        num_same = sum(kill.killed and not kill.difference for kill in of_stage)
        details = (
            f"{num_killed} killed before the end; bit for bit the same after resuming"
        )
        rows.append(Row(f"kill -9 during {stage}", len(of_stage), num_same, details))
    return rows


def corruption(folder: Path) -> list[Row]:
    """Flips bits of each kind of file."""
    from corruption import flip_everywhere
    from tiny import tiny_run

    config, run = tiny_run(folder)
    rows = []
    for kind, counts in flip_everywhere(config, run, NUM_FLIPS, SEED).items():
        details = f"{counts['noticed']} noticed, {counts['harmless']} without effect"
        survived = counts["noticed"] + counts["harmless"]
        rows.append(Row(f"a flipped bit: {kind}", counts.total(), survived, details))
    return rows


def configurations(folder: Path) -> list[Row]:
    """Checks configurations with random changes."""
    from fuzz import fuzz

    counts = fuzz(folder, CONFIGURATIONS, SEED)
    details = f"{counts['valid']} valid, {counts['refused']} refused in a sentence"
    survived = min(counts.total(), CONFIGURATIONS)
    return [Row("changed configurations", CONFIGURATIONS, survived, details)]


def images(folder: Path) -> list[Row]:
    """Runs the tests of odd images."""
    from odd_images import zoo

    num_images = len(zoo())
    refused = sum(odd.expected is None for odd in zoo())
    failed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", IMAGE_TESTS], stdout=sys.stderr
    ).returncode
    details = (
        f"{num_images - refused} read as they are, {refused} refused in a sentence"
    )
    return [Row("odd images", num_images, 0 if failed else num_images, details)]


def memory(folder: Path) -> list[Row]:
    """Measures the memory of a long training and of a large evaluation."""
    from memory import growth_after, measured

    by_iteration = measured("training", ITERATIONS, WARM_UP)
    growth = growth_after({int(k): v for k, v in by_iteration.items()}, WARM_UP)
    lowest, highest = min(by_iteration.values()), max(by_iteration.values())
    details = f"{lowest:.0f} to {highest:.0f} MB; growth {growth:+.1f}"
    flat = int(growth < MAX_GROWTH_MB)
    sizes = measured("evaluation", *EVALUATION)
    peak = sizes["peak"] - sizes["before"]
    evaluation_details = (
        f"{peak:.0f} MB at the peak; the logits alone are {sizes['logits']:.0f} MB"
    )
    height, width, classes = EVALUATION
    return [
        Row(f"memory over {ITERATIONS} iterations", 1, flat, details),
        Row(
            f"evaluation of {width}x{height}, {classes} classes",
            1,
            int(peak < MAX_EVALUATION_MB),
            evaluation_details,
        ),
    ]


def cables(folder: Path) -> list[Row]:
    """Trains on two hosts whose cable is slow, loses packets or is cut."""
    from cables import CABLES, WHOLE, Site, survive

    from benchmarks.network.hosts import why_no_relay

    if reason := why_no_relay():
        return [Row("two hosts and their cable", 0, 0, f"not tried: {reason}")]
    site = Site(folder)
    rows = []
    for cable in tqdm(CABLES, desc="cables", disable=None):
        name = WHOLE.name if cable == WHOLE else f"cable {len(rows)}"
        survival = survive(site, cable, name)
        if survival.problem:
            tqdm.write(f"{cable.name}: {survival.problem}", file=sys.stderr)
        details = survival.details or "neither went on nor stopped with 75"
        survived = int(not survival.problem)
        rows.append(Row(f"two hosts: {cable.name}", 1, survived, details))
    return rows


PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "images": images,
    "configurations": configurations,
    "corruption": corruption,
    "kills": kills,
    "memory": memory,
    "cables": cables,
}


def table(rows: list[Row]) -> str:
    """Returns the rows in Markdown."""
    lines = ["| fault | tried | survived | |", "|---|---:|---:|---|"]
    lines += [
        f"| {row.fault} | {row.tried} | {row.survived} | {row.details} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", help=f"some of {', '.join(PARTS)}; default: all"
    )
    names = parser.parse_args().parts or list(PARTS)
    for name in names:
        if name not in PARTS:
            parser.error(f"received {name}; allowed: {', '.join(PARTS)}")
    rows = []
    for name in tqdm(names, desc="faults", unit="part", disable=None):
        with tempfile.TemporaryDirectory() as folder:
            rows += PARTS[name](Path(folder))
    print(table(rows))
    return int(any(row.survived < row.tried for row in rows))


if __name__ == "__main__":
    sys.exit(main())
