"""Command-line arguments of `scripts/benchmark.py`, and their checks."""

import argparse
from pathlib import Path

from gcnet_tf.commands.cli import add_set_argument, make_folder
from gcnet_tf.errors import UserError

# Configurations of networks that are small enough for phones.
MOBILE = ("voc_r18_20k", "voc_mobilenetv2_20k", "voc_mobilenetv3_20k")
# The modes that mmsegmentation has as well.
EVALUATION_MODES = ("whole", "slide", "ms_flip")
_LARGE = ("samples", "shards", "bytes")


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--leads", action="store_true", help="compare other ways to build it"
    )
    choice.add_argument(
        "--augmentations",
        action="store_true",
        help="compare it with one further augmentation each",
    )
    choice.add_argument(
        "--memory", action="store_true", help="measure memory over 10,000 samples"
    )
    _add_rounds(parser)
    _add_seconds(parser, 4.0)
    add_peer_argument(parser)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the result there as well"
    )


def add_infer_arguments(parser: argparse.ArgumentParser) -> None:
    _add_exports(parser)
    add_peer_argument(parser)
    _add_out(parser, "benchmark_infer.json, .md and .png")


def add_engines_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=4000,
        metavar="N",
        help="convert so many images, and a tenth of them; default 4000",
    )


def add_callers_arguments(parser: argparse.ArgumentParser) -> None:
    _add_exports(parser)
    _add_out(parser, "benchmark_callers.json and .md")


def add_allocators_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="measure only workloads with this in their names",
    )
    parser.add_argument(
        "--exports",
        type=Path,
        metavar="DIR",
        help="measure these files as well, from scripts/export.py --size 512x512",
    )
    _add_threads(parser)
    _add_rounds(parser)
    _add_seconds(parser, 3.0)
    _add_out(parser, "benchmark_allocators.json and .md")


def add_blocks_arguments(parser: argparse.ArgumentParser) -> None:
    _add_threads(parser)
    _add_rounds(parser)
    _add_seconds(parser, 1.0)
    _add_out(parser, "benchmark_blocks.json, .md and .png")


def add_mobile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg",
        nargs="+",
        default=["voc_r50_20k", *MOBILE],
        help="networks with drawn weights; ratios are to the first one; default "
        f"voc_r50_20k {' '.join(MOBILE)}",
    )
    _add_size(parser)
    _add_threads(parser)
    _add_rounds(parser)
    _add_seconds(parser, 3.0)
    _add_out(parser, "benchmark_mobile.json, .md and .png")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    _add_cfg(parser)
    add_set_argument(parser)
    _add_size(parser, "256x256")
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N", help="images in a step; default 4"
    )
    _add_threads(parser)
    _add_rounds(parser)
    _add_seconds(parser, 10.0)
    add_peer_argument(parser)
    _add_out(parser, "benchmark_train.json, .md and .png")


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="ROW",
        help="published rows, such as voc_r50_20k; default: all 16",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=200,
        metavar="N",
        help="images whose prediction is timed, the first 5 left out; default 200, as "
        "the reference",
    )
    _add_out(parser, "benchmark_table.json and .md")


def add_loop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--iterations",
        type=int,
        default=50,
        metavar="N",
        help="iterations from one line of the log to the next; default 50",
    )
    _add_rounds(parser, 25)
    _add_out(parser, "benchmark_loop.json and .md")


def add_large_arguments(parser: argparse.ArgumentParser) -> None:
    for name, default, text in (
        ("samples", 10**6, "number of training samples"),
        ("shards", 100, "number of files of records"),
        ("bytes", 500, "least size of a record"),
    ):
        parser.add_argument(
            f"--{name}",
            type=int,
            default=default,
            metavar="N",
            help=f"{text}; default {default}",
        )
    parser.add_argument(
        "--links",
        action="store_true",
        help="write one file, and links to it for the others, where no disk has room",
    )
    _add_out(parser, "benchmark_large.json and .md")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg",
        default="voc_r50_20k",
        help="network, made narrow, with drawn weights; default voc_r50_20k",
    )
    _add_rounds(parser, 7)
    _add_out(parser, "benchmark_network.json and .md")


def add_convolutions_arguments(parser: argparse.ArgumentParser) -> None:
    _add_rounds(parser, 15)
    _add_threads(parser)
    _add_out(parser, "benchmark_convolutions.json, .md and .png")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--cfg",
        default="shapes_r18",
        help="network with drawn weights, on its data; default shapes_r18, whose data "
        "is drawn as well",
    )
    choice.add_argument("--model", metavar="RUN", help="a run folder, on its data")
    add_set_argument(parser)
    parser.add_argument(
        "--mode",
        action="append",
        choices=EVALUATION_MODES,
        help="evaluate in this mode only; may be repeated; default: all modes",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=12,
        metavar="N",
        help="number of images of the split val, evenly spread; default 12",
    )
    _add_rounds(parser)
    _add_threads(parser)
    add_peer_argument(parser)
    _add_out(parser, "benchmark_evaluate.json, .md and .png")


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cfg",
        default="ade20k_r50_80k",
        help="network with drawn weights; default ade20k_r50_80k, with 150 classes",
    )
    _add_size(parser, "256x340")
    _add_rounds(parser, 3)
    _add_threads(parser)
    _add_out(parser, "benchmark_protocol.json and .md")


def check(args: argparse.Namespace) -> None:
    """Refuses numbers with which nothing is measured, and makes the folder `--out`.

    Raises:
        UserError: for a number that is too small, or a folder that cannot be made.
    """
    for name in ("rounds", "images", "threads", "batch", "iterations", *_LARGE):
        number = getattr(args, name, 1)
        if number < 1:
            raise UserError(f"--{name}: received {number}; it is at least 1.")
    if not getattr(args, "seconds", 1) > 0:
        raise UserError(f"--seconds: received {args.seconds}; it is above 0.")
    if getattr(args, "out", None):
        make_folder(args.out)


def _add_exports(parser: argparse.ArgumentParser) -> None:
    """Adds the exported files to measure, and the length of the measurements."""
    choice = parser.add_mutually_exclusive_group()
    _add_cfg(choice)
    choice.add_argument("--model", metavar="RUN", help="a run folder")
    choice.add_argument(
        "--exports",
        type=Path,
        metavar="DIR",
        help="files that scripts/export.py wrote; without it all are exported first",
    )
    _add_size(parser)
    _add_threads(parser)
    _add_rounds(parser)
    _add_seconds(parser, 3.0)


def _add_cfg(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--cfg",
        default="voc_r50_20k",
        help="network with drawn weights; default voc_r50_20k",
    )


def _add_size(parser: argparse.ArgumentParser, default: str = "512x512") -> None:
    parser.add_argument(
        "--size",
        default=default,
        metavar="HxW",
        help=f"height and width of an image; default {default}",
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=int,
        default=2,
        metavar="N",
        help="threads of each process; default 2",
    )


def _add_out(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write {files} there")


def _add_rounds(parser: argparse.ArgumentParser, default: int = 5) -> None:
    parser.add_argument(
        "--rounds",
        type=int,
        default=default,
        metavar="N",
        help=f"rounds in which each has its turn; default {default}",
    )


def _add_seconds(parser: argparse.ArgumentParser, default: float) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=default,
        help=f"length of a measurement; default {default:.0f}",
    )


def add_peer_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--peer-python`."""
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=Path(".venv-parity/bin/python"),
        metavar="FILE",
        help="python of the environment with mmsegmentation; default "
        ".venv-parity/bin/python",
    )
