"""The command `scripts/benchmark.py table`: the published table on this device."""

import argparse
from collections.abc import Callable
from datetime import timedelta

from benchmarks.report import KERAS_PACKAGES, Report, machine_facts
from benchmarks.table import rows
from gcnet_tf.config import Config
from gcnet_tf.errors import UserError

_HEAD = ("configuration", "Mem (GB)", "V100", "fps", "V100", "parameters")
_NOTES = """\
Mem: peak memory of training steps with the images of one of the reference's four GPUs,
GiB. fps: images per second, one at a time, from an image to its labels, the usual size
of the data set (windows where the row has them); of the reference's images the first
{warm_up} do not count either. V100: what the reference published. parameters: millions,
with the auxiliary head. float32 throughout."""
_ON_CPU = (
    "This is not a GPU: Mem is the peak memory of the whole process, and both columns "
    "compare with a V100's only in kind."
)


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Measures the rows, after an estimate of the time, and publishes the report.

    Args:
        args: see `arguments.add_table_arguments`.
        start_tensorflow: not called; workers import TensorFlow.

    Raises:
        UserError: for a row that was not published, or too few images.
    """
    if args.images <= rows.WARM_UP:
        raise UserError(
            f"--images: received {args.images}; it is above {rows.WARM_UP}, because "
            "the first ones do not count."
        )
    chosen = rows.published_rows(args.rows)
    distinct = {rows.network_and_protocol(row): row for row in chosen.values()}
    device = rows.device()
    seconds = sum(rows.seconds_of(row, args.images) for row in distinct.values())
    print(
        f"{device.name}: {len(chosen)} rows, {len(distinct)} networks, about "
        f"{timedelta(seconds=60 * round(seconds / 60))} h (fewer --images or --rows "
        "take less).",
        flush=True,
    )
    costs = {}
    for key, row in distinct.items():
        costs[key] = rows.measure_row(row, args.images)
        names = [
            name for name in chosen if rows.network_and_protocol(chosen[name]) == key
        ]
        print(*_cells(", ".join(names), row, costs[key]), sep="  ", flush=True)
    of_row = {name: costs[rows.network_and_protocol(chosen[name])] for name in chosen}
    _report(args.command_line, chosen, of_row, device).publish(args.out)


def _report(
    command: str,
    chosen: dict[str, Config],
    costs: dict[str, rows.Cost],
    device: rows.Device,
) -> Report:
    errors = [f"{name}: {error}" for name in costs for error in costs[name].errors]
    facts = {
        "device": device._asdict(),
        "rows": {name: cost._asdict() for name, cost in costs.items()},
    }
    return Report(
        "benchmark_table",
        "The published table on this device",
        machine_facts(command, KERAS_PACKAGES) | facts,
        lines=[_HEAD, *(_cells(name, chosen[name], costs[name]) for name in chosen)],
        notes=_NOTES.format(warm_up=rows.WARM_UP),
        settings=", ".join(filter(None, (device.name, device.arithmetic))),
        num_words=1,
        verdicts=[*([] if device.is_gpu else [_ON_CPU]), *errors],
    )


def _cells(name: str, config: Config, cost: rows.Cost) -> tuple[str, ...]:
    published = config.published
    return (
        name,
        _number(cost.memory_gb, 1),
        _number(published.memory_gb, 1),
        _number(cost.fps, 2),
        _number(published.fps, 2),
        _number(cost.parameters / 1e6, 1),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
