"""Arguments of `scripts/benchmark.py`."""

import argparse
from pathlib import Path

from gcnet_tf.commands.cli import add_set_argument
from gcnet_tf.errors import UserError

MOBILE = ("voc_r18_20k", "voc_mobilenetv2_20k", "voc_mobilenetv3_20k")
# Those that mmsegmentation has, too.
EVALUATION_MODES = ("whole", "slide", "ms_flip")


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--leads", action="store_true", help="other ways to build it")
    what.add_argument("--memory", action="store_true", help="over 10,000 samples")
    _add_shared(parser, seconds=4.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it there too")


def add_infer_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--cfg",
        default="voc_r50_20k",
        help="this network, its weights drawn; default voc_r50_20k",
    )
    what.add_argument("--model", metavar="RUN", help="a run folder")
    what.add_argument(
        "--exports",
        type=Path,
        metavar="DIR",
        help="what scripts/export.py wrote; else everything is exported first",
    )
    _add_size(parser)
    _add_threads(parser)
    _add_shared(parser, seconds=3.0)
    _add_out(parser, "benchmark_infer")


def add_allocators_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="workloads with this in their names"
    )
    parser.add_argument(
        "--exports",
        type=Path,
        metavar="DIR",
        help="measure these files, too: what scripts/export.py --size 512x512 wrote",
    )
    _add_threads(parser)
    _add_rounds(parser, seconds=3.0)
    _add_out(parser, "benchmark_allocators")


def add_blocks_arguments(parser: argparse.ArgumentParser) -> None:
    _add_threads(parser)
    _add_rounds(parser, seconds=1.0)
    _add_out(parser, "benchmark_blocks")


def add_mobile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg",
        nargs="+",
        default=["voc_r50_20k", *MOBILE],
        help="networks, their weights drawn; ratios are to the first; default "
        f"voc_r50_20k {' '.join(MOBILE)}",
    )
    _add_size(parser)
    _add_threads(parser)
    _add_rounds(parser, seconds=3.0)
    _add_out(parser, "benchmark_mobile")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg",
        default="voc_r50_20k",
        help="this network, its weights drawn; default voc_r50_20k",
    )
    parser.add_argument(
        "--size",
        default="256x256",
        metavar="HxW",
        help="of the images; default 256x256",
    )
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N", help="images; default 4"
    )
    _add_threads(parser)
    _add_shared(parser, seconds=10.0)
    _add_out(parser, "benchmark_train")


def add_convolutions_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, default=15, metavar="N", help="default 15"
    )
    _add_threads(parser)
    _add_out(parser, "benchmark_convolutions")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--cfg",
        default="shapes_r18",
        help="this network on its data, its weights drawn; default shapes_r18, which "
        "draws its data as well",
    )
    what.add_argument("--model", metavar="RUN", help="a run folder, on its data")
    add_set_argument(parser)
    parser.add_argument(
        "--mode",
        action="append",
        choices=EVALUATION_MODES,
        help="only this one; may be repeated; default: all",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=12,
        metavar="N",
        help="of the split val, evenly spread; default 12",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    _add_threads(parser)
    _add_peer(parser)
    _add_out(parser, "benchmark_evaluate")


def check_rounds(args: argparse.Namespace) -> None:
    """Refuses measurements that measure nothing.

    Raises:
        UserError: for less than 1 round, or no time or images.
    """
    if args.rounds < 1:
        raise UserError(f"--rounds: received {args.rounds}; it is at least 1.")
    if not getattr(args, "seconds", 1) > 0:
        raise UserError(f"--seconds: received {args.seconds}; it is above 0.")
    if getattr(args, "images", 1) < 1:
        raise UserError(f"--images: received {args.images}; it is at least 1.")


def check_threads(args: argparse.Namespace) -> None:
    """Refuses less than one thread.

    Raises:
        UserError: saying so.
    """
    if args.threads < 1:
        raise UserError(f"--threads: received {args.threads}; it is at least 1.")


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", default="512x512", metavar="HxW", help="of the image; default 512x512"
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=int, default=2, metavar="N", help="of each; default 2"
    )


def _add_out(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"write {name}.json, .md and .png there"
    )


def _add_rounds(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help=f"of each measurement; default {seconds:.0f}",
    )


def _add_shared(parser: argparse.ArgumentParser, seconds: float) -> None:
    _add_rounds(parser, seconds)
    _add_peer(parser)


def _add_peer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=Path(".venv-parity/bin/python"),
        metavar="FILE",
        help="of the environment with mmsegmentation; default .venv-parity/bin/python",
    )
