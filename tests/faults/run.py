"""Tries faults of every kind and prints how many were survived; `make faults` runs it.

Exit code 1 when any was not. Half an hour on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

# Where pytest finds what all tests share.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
SEED = 2026
KILLS = 20
PLACES = 50
CONFIGURATIONS = 1000
IMAGE_TESTS = "tests/faults/test_odd_images.py"
ITERATIONS, WARM_UP = 2000, 200
# A leak of 20 KB an iteration would be this much.
MOST_GROWTH_MB = 20
EVALUATION = (1024, 2048, 150)
# The scores of the image at once would be 1200: they are made in strips.
MOST_EVALUATION_MB = 900


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    tried: int
    survived: int
    how: str


def kills(folder: Path) -> list[Row]:
    from kills import STAGES, kill_at_random
    from script_server import ScriptServer

    stages = [STAGES[index % len(STAGES)] for index in range(KILLS)]
    with ScriptServer(folder) as scripts:
        found = []
        for kill in kill_at_random(scripts, folder, stages, SEED):
            found.append(kill)
            end = "killed" if kill.killed else "ended before"
            result = kill.difference or "the same after resuming"
            text = f"{kill.stage}, {kill.moment}: {end}; {result}"
            tqdm.write(text, file=sys.stderr)
    rows = []
    for stage in STAGES:
        here = [kill for kill in found if kill.stage == stage]
        dead = sum(kill.killed for kill in here)
        same = sum(kill.killed and not kill.difference for kill in here)
        how = f"{dead} killed before the end; bit for bit the same after resuming"
        rows.append(Row(f"kill -9 during {stage}", len(here), same, how))
    return rows


def corruption(folder: Path) -> list[Row]:
    from corruption import flip_everywhere
    from tiny import tiny_run

    config, run = tiny_run(folder)
    rows = []
    for kind, counts in flip_everywhere(config, run, PLACES, SEED).items():
        how = f"{counts['noticed']} noticed, {counts['harmless']} without effect"
        survived = counts["noticed"] + counts["harmless"]
        rows.append(Row(f"a flipped bit: {kind}", counts.total(), survived, how))
    return rows


def configurations(folder: Path) -> list[Row]:
    from fuzz import fuzz

    counts = fuzz(folder, CONFIGURATIONS, SEED)
    how = f"{counts['valid']} valid, {counts['refused']} refused in a sentence"
    survived = min(counts.total(), CONFIGURATIONS)
    return [Row("changed configurations", CONFIGURATIONS, survived, how)]


def images(folder: Path) -> list[Row]:
    from odd_images import zoo

    number = len(zoo())
    refused = sum(odd.expected is None for odd in zoo())
    failed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", IMAGE_TESTS], stdout=sys.stderr
    ).returncode
    how = f"{number - refused} read as they are, {refused} refused in a sentence"
    return [Row("odd images", number, 0 if failed else number, how)]


def memory(folder: Path) -> list[Row]:
    from memory import growth_after, measured

    over = {int(k): v for k, v in measured("training", ITERATIONS, WARM_UP).items()}
    growth = growth_after(over, WARM_UP)
    how = (
        f"{min(over.values()):.0f} to {max(over.values()):.0f} MB; growth {growth:+.1f}"
    )
    flat = int(growth < MOST_GROWTH_MB)
    found = measured("evaluation", *EVALUATION)
    more = found["peak"] - found["before"]
    text = f"{more:.0f} MB at the peak; the scores alone are {found['scores']:.0f} MB"
    height, width, classes = EVALUATION
    return [
        Row(f"memory over {ITERATIONS} iterations", 1, flat, how),
        Row(
            f"evaluation of {width}x{height}, {classes} classes",
            1,
            int(more < MOST_EVALUATION_MB),
            text,
        ),
    ]


PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "images": images,
    "configurations": configurations,
    "corruption": corruption,
    "kills": kills,
    "memory": memory,
}


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| fault | tried | survived | |", "|---|---:|---:|---|"]
    lines += [f"| {r.what} | {r.tried} | {r.survived} | {r.how} |" for r in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
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
