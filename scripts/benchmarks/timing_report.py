"""The report of `turns.measure`: time and memory, a row for each candidate."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import peer
from benchmarks.report import Chart, Report, horizontal_bars, machine_facts
from benchmarks.turns import Timing


class Wording(NamedTuple):
    """Words in which the report of one benchmark differs from that of another."""

    name: str
    """Name of the files, without a suffix."""
    title: str
    timed: str = "an image"
    """Unit of work that is timed."""
    base: str = "the first row"
    """Row to which the ratios are."""


_COLUMNS = (
    *("", "gives", "ms", "p90", "ratio", "from", "to", "cores"),
    *("MB", "+MB", "file"),
)
_NOTES = """\
ms, p90: median time of {timed}, and what one in ten exceeds. ratio: to {base}, median
over the rounds, and the range. cores: in use on average. MB: peak memory of the
process; +MB: its share that came after importing the interpreter; file: on disk, MB."""


def timing_report(
    wording: Wording, command: str, timings: Sequence[Timing], peer_versions: str = ""
) -> Report:
    """Makes the report of a benchmark that times candidates in turn.

    Args:
        wording: words of this benchmark.
        command: shell command that measured.
        timings: one for each row.
        peer_versions: see `peer.versions`.
    """
    facts = machine_facts(command) | {
        "peer_versions": peer_versions,
        "rows": [timing.to_dict() for timing in timings],
    }
    return Report(
        wording.name,
        wording.title,
        facts,
        lines=[_COLUMNS, *map(_cells, timings)],
        notes=_NOTES.format(timed=wording.timed, base=wording.base),
        settings=peer.settings(peer_versions),
        chart=Chart("Ratios", lambda: _draw(wording, facts["processor"], timings)),
    )


def _cells(timing: Timing) -> tuple[str, ...]:
    return (
        timing.name,
        timing.outputs,
        f"{timing.median * 1000:.1f}",
        f"{timing.p90 * 1000:.1f}",
        f"{timing.ratio:.3f}",
        f"{min(timing.ratios):.3f}",
        f"{max(timing.ratios):.3f}",
        f"{timing.busy:.2f}",
        f"{timing.peak:.0f}",
        f"{timing.peak - timing.baseline:.0f}",
        "" if timing.megabytes is None else f"{timing.megabytes:.1f}",
    )


def _draw(wording: Wording, title: str, timings: Sequence[Timing]) -> Any:
    """Draws the ratios, with error bars over the range of the rounds."""
    bars = {
        timing.name: (
            timing.ratio,
            f" {timing.ratio:.2f}  ({timing.median * 1e3:.0f} ms)",
        )
        for timing in timings
    }
    below = [timing.ratio - min(timing.ratios) for timing in timings]
    above = [max(timing.ratios) - timing.ratio for timing in timings]
    figure, axes = horizontal_bars(
        bars,
        title,
        f"time of {wording.timed}, ratio to {wording.base}; range over the rounds",
        row_height=0.32,
        padding=4,
        color=["tab:gray" if "mmseg" in name else "tab:blue" for name in bars],
        xerr=[below, above],
    )
    axes.set_xlim(0, 1.25 * max(max(timing.ratios) for timing in timings))
    return figure
