"""Trains several configurations, with several seeds, and compares their accuracy.

python scripts/compare.py --cfg camvid_r18 camvid_r18_nl --iterations 400
python scripts/compare.py --cfg configs/my_data.json --seeds 0 1 2
python scripts/compare.py --cfg my_recipe --vary no_decay train.weight_decay=0
python scripts/compare.py --cfg camvid_r18 --seeds 0 1 2 --reference

Every run has the same data. A second call resumes where the first one ended. Writes
comparison.json, .md and .png: mIoU of every seed, mean and standard deviation, IoU of
each class, parameters, multiply-adds and time.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import add_peer_argument
from benchmarks.comparison import reference
from benchmarks.comparison import runs as comparison
from gcnet_tf.commands import cli
from gcnet_tf.export.plan import parse_size


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "--cfg",
        nargs="+",
        required=True,
        metavar="FILE",
        help="configurations on the same data: files, or names of shipped ones",
    )
    cli.add_set_argument(parser)
    parser.add_argument(
        "--vary",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "SETTING"),
        help="adds a row: the first configuration with these settings changed; may be "
        "given several times",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default 0")
    parser.add_argument(
        "--iterations", type=int, help="default: those of each configuration"
    )
    parser.add_argument(
        "--size",
        default="360x480",
        help="size of the image that is timed; default 360x480",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs/comparison"),
        help="folder of the runs; default runs/comparison",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the report; default: --runs"
    )
    parser.add_argument(
        "--reference",
        action="store_true",
        help="adds a row: mmsegmentation's own training by the settings of the first "
        "configuration, which `make .venv-parity/installed` makes ready",
    )
    add_peer_argument(parser)
    args = parser.parse_args(argv)
    cli.require_positive(args, "iterations")
    size = parse_size(args.size)
    rows = comparison.list_rows(args.cfg, args.vary)
    runs = comparison.plan_runs(rows, args.seeds, args.iterations, args.set, args.runs)
    peer_runs = []
    if args.reference:
        reference.require(args.peer_python)
        peer_runs = reference.list_runs(runs, args.runs)
    out = args.out or args.runs
    cli.make_folder(out)

    cli.start_tensorflow()
    from benchmarks.comparison import costs, report

    costs.check_runs(runs)
    reference.check_runs(peer_runs)
    for run in runs:
        if not comparison.is_finished(run):
            cli.run_training(run.cfg, run.folder, run.settings)
    for run in peer_runs:
        reference.train(args.peer_python, run)
    measured = costs.measure(comparison.networks(runs), size)
    command = cli.command_line("compare", argv)
    outcomes = comparison.outcomes([*runs, *peer_runs])
    print()
    report.comparison_report(command, size, outcomes, measured).publish(out)
    return 0


if __name__ == "__main__":
    cli.run(main)
