"""Trains several configurations alike and compares them.

python scripts/compare_blocks.py
python scripts/compare_blocks.py --seeds 0 1 2
python scripts/compare_blocks.py --cfg configs/my_data.json configs/my_data_nl.json

By default these are heads with each context block. Every run has the same iterations,
seeds and data. A second call resumes where the first one ended. Writes family.json, .md
and .png with mIoU, parameters, multiply-adds and time.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.family import runs as family
from gcnet_tf.commands import cli
from gcnet_tf.export.plan import parse_size

CAMVID = [f"camvid_r18{block}" for block in ("", "_nl", "_snl", "_se", "_none")]


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "--cfg",
        nargs="+",
        default=CAMVID,
        metavar="FILE",
        help=f"configurations on the same data; default: {' '.join(CAMVID)}",
    )
    cli.add_set_argument(parser)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default 0")
    parser.add_argument("--iterations", type=int, default=400, help="default 400")
    parser.add_argument(
        "--size",
        default="360x480",
        help="size of the image that is timed; default 360x480",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/family"), help="folder of the runs"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the report; default: --runs"
    )
    args = parser.parse_args(argv)
    cli.require_positive(args, "iterations")
    size = parse_size(args.size)
    runs = family.plan_runs(args.cfg, args.seeds, args.iterations, args.set, args.runs)
    out = args.out or args.runs
    cli.make_folder(out)

    cli.start_tensorflow()
    from benchmarks.family import costs, report

    costs.check_runs(runs)
    for run in runs:
        if not family.is_finished(run):
            cli.run_training(run.cfg, run.folder, run.settings)
    measured = costs.measure(family.networks(runs), size)
    command = cli.command_line("compare_blocks", argv)
    outcomes = family.outcomes(runs)
    print()
    report.family_report(command, size, args.iterations, outcomes, measured).publish(
        out
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
