"""Computes the published table again, row by row, beside the published figures.

python scripts/reproduce.py voc_r50_20k --dry-run       what is missing, what it costs
python scripts/reproduce.py voc_r50_20k --download      fetches it, and computes the row
python scripts/reproduce.py                             all 16 rows, from what is there
python scripts/reproduce.py voc_r50_20k=runs/voc_r50_20k      with weights of your own
python scripts/reproduce.py voc_r50_20k --logs 20200617_165701.log.json

A second call goes on where the first one ended. Exits with 1 when an mIoU differs from
the published one by more than 0.1 points, and with 2 when a row lacks something.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table.rows import device
from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.results import require_place, write_result
from reproduction import logs, speed
from reproduction.rows import (
    Modes,
    Row,
    availability,
    can_come,
    has_validation_records,
    missing_of,
    rows_named,
)
from reproduction.table import Outcome, markdown

# Exit code when an mIoU differs from the published one.
OFF = 1
_MARKDOWN, _JSON = "table.md", "table.json"


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    add = parser.add_argument
    add(
        "rows",
        nargs="*",
        metavar="ROW[=WEIGHTS]",
        help="published rows, each with a checkpoint (.pth), weights (.weights.h5) or "
        "a run of your own in place of the published checkpoint; default: all of GCNet",
    )
    cli.add_set_argument(parser)
    add("--download", action="store_true", help="fetch checkpoints and images")
    add("--dry-run", action="store_true", help="say what is missing and what it costs")
    add("--no-ms-flip", action="store_true", help="leave out mIoU (ms+flip)")
    add("--no-speed", action="store_true", help="leave out memory and fps")
    add(
        "--out",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="DIR",
        help="folder of the results; default: runs/reproduce",
    )
    add(
        "--logs",
        type=Path,
        metavar="FILE",
        help="only compare losses: a training log of mmsegmentation for one ROW=RUN",
    )
    args = parser.parse_args(argv)
    rows = rows_named(args.rows, args.set)
    for name in (_MARKDOWN, _JSON):
        require_place(args.out / name)
    if args.logs:
        return _compare_losses(rows, args.logs, args.out)

    lacking = {row.name: missing_of(row) for row in rows}
    for row in rows:
        print(availability(row, lacking[row.name]))
    modes = (None,) if args.no_ms_flip else (None, "ms_flip")
    if args.dry_run:
        with_records = [row for row in rows if has_validation_records(row)]
        _print_hours(rows, with_records, modes, args)
        return 0
    ready = [row for row in rows if can_come(lacking[row.name], args.download)]
    if not ready:
        advice = dict.fromkeys(
            lack.advice for row in rows for lack in lacking[row.name]
        )
        raise UserError("No row can be computed yet.\n\n" + "\n\n".join(advice))
    outcomes = {row.name: Outcome(row.name, row.config) for row in rows}
    for row in rows:
        if row not in ready:
            outcomes[row.name].lacks = [f"lacks {m.what}" for m in lacking[row.name]]

    cli.start_tensorflow()
    from reproduction import run

    for row in ready:
        with _failure_noted(outcomes[row.name]):
            run.provide(row)
    ready = [row for row in ready if not outcomes[row.name].lacks]
    _print_hours(rows, ready, modes, args)
    if not args.no_speed:
        # In processes of their own, which need a GPU's memory alone.
        for row in rows:
            speed.measure(row, args.out, outcomes[row.name])
    for row in ready:
        with _failure_noted(outcomes[row.name]):
            run.compute(row, modes, args.out, outcomes[row.name])
        _write_table(list(outcomes.values()), args.out)
    print(f"\n{_write_table(list(outcomes.values()), args.out)}")
    if any(outcome.is_off() for outcome in outcomes.values()):
        return OFF
    return cli.EXIT_BAD_INPUT if any(o.lacks for o in outcomes.values()) else 0


@contextmanager
def _failure_noted(outcome: Outcome) -> Iterator[None]:
    """Notes what a row lacks, which leaves the other rows."""
    try:
        yield
    except UserError as error:
        outcome.lacks.append(first_line(error))
        print(f"{outcome.name}: {error}", file=sys.stderr)


def _print_hours(
    rows: Sequence[Row],
    with_records: Sequence[Row],
    modes: Modes,
    args: argparse.Namespace,
) -> None:
    """Estimates the time that is left, and prints it."""
    cli.start_tensorflow()
    from reproduction import run

    hours = run.hours(with_records, modes, args.out)
    for name, value in hours.items():
        print(f"{name}: mIoU in about {value:.2f} h")
    total = sum(hours.values())
    if not args.no_speed:
        value = speed.hours(rows, args.out)
        print(f"memory and fps: in about {value:.2f} h")
        total += value
    print(f"all: about {total:.2f} h on {device().name}", flush=True)


def _write_table(outcomes: Sequence[Outcome], out: Path) -> str:
    table = markdown(outcomes, device().name)
    rows = [outcome.to_dict() for outcome in outcomes]
    write_result(out / _MARKDOWN, table + "\n")
    write_result(out / _JSON, json.dumps(rows, indent=2) + "\n")
    return table


def _compare_losses(rows: Sequence[Row], log: Path, out: Path) -> int:
    if len(rows) != 1:
        raise UserError(
            f"--logs: received with {len(rows)} rows; name one row, as in "
            "scripts/reproduce.py voc_r50_20k=runs/voc_r50_20k --logs NAME.log.json."
        )
    (row,) = rows
    run = row.weights or Path("runs") / row.name
    ours, theirs = logs.side_by_side(
        logs.run_losses(run / "metrics.jsonl"), logs.reference_losses(log)
    )
    picture = out / f"{row.name}_loss.png"
    logs.draw(ours, theirs, row.name, picture)
    print(f"{logs.loss_table(ours, theirs)}\n\nWrote {picture}")
    return 0


if __name__ == "__main__":
    cli.run(main)
