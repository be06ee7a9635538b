"""Arguments that several commands take."""

import argparse
from pathlib import Path
from typing import Any

from gcnet_tf.commands.cli.lines import as_started_here
from gcnet_tf.errors import UserError
from gcnet_tf.extensions import here
from gcnet_tf.runtime.protocol import MODES


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """Makes a parser whose `--help` shows a docstring with its examples."""
    return argparse.ArgumentParser(
        description=as_started_here(description or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config_arguments(
    parser: argparse.ArgumentParser, required: bool = True
) -> None:
    """Adds `--cfg` and `--set`."""
    parser.add_argument(
        "--cfg",
        required=required,
        metavar="FILE",
        help="configuration file, or the name of a shipped one such as voc_r50_20k",
    )
    add_set_argument(parser)


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`, which takes several settings and may be repeated."""
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings, for example: train.batch_size=8 train.seed=1",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--cfg`, `--set`, `--weights` and `--model`."""
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="a .weights.h5 or mmsegmentation's .pth file of the model in --cfg",
    )
    parser.add_argument(
        "--model",
        metavar="FILE_OR_RUN",
        help="a run folder (its best weights), an exported model (.tflite, .onnx or "
        "the folder of a SavedModel), a .keras file (with its --cfg), or a published "
        "row such as voc_r50_20k, which is downloaded once",
    )
    add_imports_argument(parser)


def add_imports_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--allow-imports`, which takes effect as it is read."""
    parser.add_argument(
        "--allow-imports",
        action=_AllowImports,
        nargs=0,
        help="import modules of custom_imports from this folder, which runs them; "
        "installed ones need no leave",
    )


class _AllowImports(argparse.Action):
    def __call__(self, *arguments: Any) -> None:
        here.search()


def add_mode_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--mode`."""
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="whole: the image at once; slide: in windows, logits averaged; ms_flip: "
        "the configuration's mode at several scales, each also mirrored; tiled: in "
        "windows without any scaling, for very large images; default: the mode of the "
        "configuration",
    )


def require_positive(args: argparse.Namespace, *names: str) -> None:
    """Refuses numbers below 1; None, an argument that was not given, is fine."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name}: received {value}; it must be at least 1.")


def make_folder(folder: Path) -> None:
    """Makes the folder of `--out`, before the work whose results it gets.

    Raises:
        UserError: when the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot make the folder {folder}: {error}") from error
