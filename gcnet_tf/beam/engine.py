"""The engine that runs pipelines: its choice, its options and its errors."""

import argparse
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gcnet_tf.errors import UserError, first_line

_CLASSES = {
    # Beam's own takes Prism, a program that it fetches from the network, and falls back
    # to this one, which alone knows the options --direct_….
    "DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    # Beam knows it by its path only.
    "DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner",
}
# Otherwise processes of the DirectRunner tell how they start and end.
_QUIET = "--default_sdk_harness_log_level=WARNING"
_INSTALL = "pip install 'gcnet_tf[beam]'"


class Engine(NamedTuple):
    """A runner of Beam.

    Attributes:
        name: as the user gave it.
        options: Beam's options, as on a command line.
    """

    name: str
    options: tuple[str, ...]


def checked_engine(name: str, options: Sequence[str]) -> Engine:
    """Checks a runner and its options, before any work.

    Args:
        name: a runner of Beam, such as DirectRunner, or the path of a class.
        options: words of a command line.

    Raises:
        UserError: when Beam or the runner is not installed, when there is no such
            runner, or when an option is not Beam's, or has a value that it refuses.
    """
    logging.getLogger("root").addFilter(_no_noise)
    try:
        import apache_beam  # noqa: F401
        from apache_beam.options import pipeline_options
        from apache_beam.runners.runner import create_runner
    except ImportError as error:
        raise UserError(
            f"--runner {name} needs Apache Beam, which is not installed here "
            f"({first_line(error)}). Install it, in an environment of its own: "
            f"{_INSTALL}; or leave --runner out."
        ) from None
    known = {*pipeline_options.StandardOptions.KNOWN_RUNNER_NAMES, *_CLASSES}
    if "." not in name and name not in known:
        raise UserError(
            f"--runner: received {name}; allowed are {', '.join(sorted(known))}, and "
            "the path of a runner's class, such as package.module.Runner."
        )
    try:
        create_runner(_CLASSES.get(name, name))
    except Exception as error:  # whatever a module raises as it is imported
        raise UserError(
            f"--runner: {name} is not installed here: {first_line(error)}. Install "
            "what it needs, or choose another one: DirectRunner comes with Beam."
        ) from None
    parser = _Options(allow_abbrev=False, add_help=False)
    for group in dict.fromkeys(pipeline_options.PipelineOptions.__subclasses__()):
        group._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(options))
    if unknown:
        raise UserError(
            f"{unknown[0]}: neither this command nor Beam's {name} has this option; "
            "--help lists the command's, and Beam's documentation those of its runners."
        )
    return Engine(name, tuple(options))


class _Options(argparse.ArgumentParser):
    """Beam's options; what is wrong with them is an error of the user."""

    def error(self, message: str) -> Any:
        raise UserError(f"Beam refuses its options: {message}.")


def _no_noise(record: logging.LogRecord) -> bool:
    """Passes over warnings of each start, of Google's programs and of memory."""
    return not record.getMessage().startswith(("apitools not", "Resource module"))


def run(engine: Engine, build: Callable[[Any], object]) -> None:
    """Runs a pipeline and waits for its end.

    Args:
        engine: where it runs.
        build: adds the steps to an `apache_beam.Pipeline`.

    Raises:
        UserError: when the engine gives up.
    """
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    # Dask tells how each worker comes and goes.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    try:
        pipeline = apache_beam.Pipeline(
            runner=_CLASSES.get(engine.name, engine.name),
            options=PipelineOptions([_QUIET, *engine.options]),
        )
        build(pipeline)
        result = pipeline.run()
        try:
            state = result.wait_until_finish()
        finally:
            # Dask's: its processes would complain that they are left.
            if hasattr(result, "client"):
                result.client.close()
    # Engines raise what they like.
    except Exception as error:
        raise UserError(_gave_up(engine, _reason(error))) from error
    if state not in (None, "DONE"):
        raise UserError(_gave_up(engine, f"its state is {state}"))


def _reason(error: BaseException) -> str:
    """Returns the last line of an error: above it, engines quote where it arose."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    text = lines[-1].strip() if lines else type(error).__name__
    return first_line(Exception(text)).rstrip(".")


def _gave_up(engine: Engine, reason: str) -> str:
    return (
        f"{engine.name} gave up: {reason}. What is finished stays: correct the cause, "
        "and run the same command again, which does the rest."
    )
