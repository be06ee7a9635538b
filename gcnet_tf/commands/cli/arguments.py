"""Arguments that several commands take."""

import argparse
from pathlib import Path
from typing import Any

from gcnet_tf.commands.cli.lines import as_started_here
from gcnet_tf.errors import UserError
from gcnet_tf.extensions import here
from gcnet_tf.files.remote.addresses import checked_address, require_local
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.runtime.protocol import MODES


class Parser(argparse.ArgumentParser):
    """A parser that refuses addresses, such as s3://bucket/run, in place of paths.

    A path made of one would be a local folder named "s3:". Arguments that take one say
    so by `takes_addresses`.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.taking_addresses: set[str] = set()

    def parse_known_args(self, args=None, namespace=None):
        """Parses arguments, as `parse_args` does, too.

        Raises:
            UserError: when there is an address where none is taken.
        """
        parsed, others = super().parse_known_args(args, namespace)
        for action in self._actions:
            values = getattr(parsed, action.dest, None)
            where = (action.option_strings or [action.dest])[0]
            for value in _flat(values):
                if not isinstance(value, str | Path):
                    continue
                if action.dest not in self.taking_addresses:
                    require_local(value, where)
                elif isinstance(value, str):
                    checked_address(value, where)
        return parsed, others

    def takes_addresses(self, *names: str) -> None:
        """Lets arguments, named as in the parsed ones, be addresses."""
        self.taking_addresses.update(names)


def _flat(value: object) -> list[object]:
    """Returns the values of an argument; one that may be repeated has lists of them."""
    if not isinstance(value, list):
        return [value]
    return [inner for item in value for inner in _flat(item)]


def script_parser(description: str | None) -> Parser:
    """Makes a parser whose `--help` shows a docstring with its examples."""
    return Parser(
        description=as_started_here(description or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config_arguments(parser: Parser, required: bool = True) -> None:
    """Adds `--cfg` and `--set`."""
    parser.takes_addresses("cfg")
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


def add_model_arguments(parser: Parser) -> None:
    """Adds `--cfg`, `--set`, `--weights` and `--model`."""
    parser.takes_addresses("weights", "model")
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


def fetch_inputs(args: argparse.Namespace, *names: str) -> None:
    """Replaces addresses in arguments, if given, by paths of local copies.

    Raises:
        UserError: when there is nothing at an address, or it cannot be read.
    """
    for name in names:
        values = getattr(args, name)
        if isinstance(values, list):
            setattr(args, name, [local_copy(value, f"--{name}") for value in values])
        elif values is not None:
            setattr(args, name, local_copy(values, f"--{name}"))


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
    require_local(folder, "--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: cannot make the folder {folder}: {error}") from error
