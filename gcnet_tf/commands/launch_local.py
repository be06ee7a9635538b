"""Trains with several workers on this machine's CPU, as if each were a machine.

python scripts/launch_local.py --workers 2 -- --cfg configs/shapes_r18.json

Arguments after -- go to scripts/train.py; train.strategy=multi_worker is added.
"""

import sys
from collections.abc import Sequence

from gcnet_tf.commands import cli
from gcnet_tf.training.distributed.launch import launch


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="number of workers; default: 2",
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="-- ARGUMENT",
        help="arguments of the training",
    )
    parser.takes_addresses("arguments")  # the training looks at them
    args = parser.parse_args(argv)
    cli.require_positive(args, "workers")
    train = [sys.executable, "-m", "gcnet_tf", "train"]
    strategy = ["--set", "train.strategy=multi_worker"]
    # Workers cannot share a GPU; the strategy "mirrored" uses several.
    print(
        f"{args.workers} worker(s) on the processor of this machine. GPUs are not "
        "used; to train on all of them, leave out this launcher.",
        flush=True,
    )
    command = [*train, *args.arguments, *strategy]
    return launch(command, args.workers)
