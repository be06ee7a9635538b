"""The report of `scripts/benchmark.py evaluate`."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import peer
from benchmarks.evaluate.files import PEER
from benchmarks.evaluate.sides import ModeTiming
from benchmarks.report import Chart, Report, horizontal_bars, machine_facts

_COLUMNS = ("mode", "", "images/s", "ratio", "from", "to", "cores", "core s", "mIoU")
_NOTES = """\
images/s: from files to the mIoU, median over the rounds. ratio: of the time to that of
the first in the mode, median over the rounds, and the range. cores: in use on average.
core s: seconds of a core for an image, which other work on the machine changes less.
slide: windows of {window[0]}x{window[1]} in steps of {stride[0]}x{stride[1]}."""


def evaluation_report(
    command: str,
    evaluation: Mapping[str, Any],
    timings: Sequence[ModeTiming],
    peer_versions: str,
) -> Report:
    """Makes the report of an evaluation benchmark.

    Args:
        command: shell command that measured.
        evaluation: section "evaluation" of the configuration, as a dict.
        timings: one for each row.
        peer_versions: see `peer.versions`.
    """
    facts = machine_facts(command) | {
        "peer_versions": peer_versions,
        "rows": [timing.to_dict() for timing in timings],
        "window": evaluation["window"],
        "stride": evaluation["stride"],
    }
    return Report(
        "benchmark_evaluate",
        "Images per second of an evaluation",
        facts,
        lines=[_COLUMNS, *map(_cells, timings)],
        notes=_NOTES.format(**facts),
        settings=peer.settings(peer_versions),
        chart=Chart("Images per second", lambda: _draw(facts["processor"], timings)),
    )


def _cells(timing: ModeTiming) -> tuple[str, ...]:
    return (
        timing.mode,
        timing.name,
        f"{timing.rate:.2f}",
        f"{timing.ratio:.3f}",
        f"{min(timing.ratios):.3f}",
        f"{max(timing.ratios):.3f}",
        f"{timing.busy:.2f}",
        f"{timing.cpu:.3f}",
        f"{100 * timing.miou:.3f}",
    )


def _draw(title: str, timings: Sequence[ModeTiming]) -> Any:
    """Draws the images per second of each side in each mode."""
    bars = {
        f"{timing.mode}, {timing.name}": (
            timing.rate,
            f" {timing.rate:.2f}  (ratio of times {timing.ratio:.2f})",
        )
        for timing in timings
    }
    colours = ["tab:gray" if timing.name == PEER else "tab:blue" for timing in timings]
    figure, axes = horizontal_bars(
        bars, title, "images per second", row_height=0.4, color=colours
    )
    axes.set_xlim(0, 1.5 * max(timing.rate for timing in timings))
    return figure
