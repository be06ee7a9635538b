"""The choice of an engine of Apache Beam, with the options that are Beam's own."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gcnet_tf.beam.engine import Engine, checked_engine
from gcnet_tf.commands.cli.arguments import Parser

if TYPE_CHECKING:
    from gcnet_tf.data.records.finished import Conversion


def add_runner_argument(parser: Parser) -> None:
    """Adds `--runner`; `parse_with_engine` parses such arguments."""
    parser.add_argument(
        "--runner",
        metavar="NAME",
        help="do it by Apache Beam, on an engine such as DirectRunner, DataflowRunner, "
        "FlinkRunner or DaskRunner; the other options may be Beam's (docs/scale.md)",
    )


def parse_with_engine(
    parser: Parser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, Engine | None]:
    """Parses arguments, of which those that the parser does not know are Beam's.

    Returns:
        The arguments, and the engine; None without `--runner`.

    Raises:
        UserError: when the engine is not there, or refuses an option.
    """
    args, others = parser.parse_known_args(argv)
    if args.runner is not None:
        return args, checked_engine(args.runner, others)
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return args, None


def conversion(engine: Engine | None) -> "Conversion | None":
    """Returns the conversion that an engine does; None for that by threads."""
    if engine is None:
        return None
    # Imported here, because Beam is an extra.
    from gcnet_tf.beam.convert import conversion_by

    return conversion_by(engine)
