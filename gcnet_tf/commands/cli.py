"""The parts that all commands share: arguments, and the way of errors to the user."""

import argparse
import io
import os
import re
import select
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from gcnet_tf.commands import COMMANDS
from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import load_predictor as load
from gcnet_tf.evaluation.load import needs_tensorflow
from gcnet_tf.extensions import here
from gcnet_tf.files.names import ESCAPED, quoted
from gcnet_tf.processor import unused_gpu
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.protocol import MODES

# In a checkout the project's scripts lie beside the package.
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
# As shells report a program that SIGPIPE has ended.
EXIT_READER_GONE = 141
# As shells report a program that SIGTERM has ended.
EXIT_TERMINATED = 143
# BSD's EX_TEMPFAIL: the same command may succeed when it is started again.
EXIT_WORKER_LOST = 75

# Lines that TensorFlow writes on every start, whatever TF_CPP_MIN_LOG_LEVEL says: the
# logging of 2.21 is not set up yet at that point, and 2.15 registers CUDA's libraries
# twice. cuInit fails on any machine without a GPU.
_START_UP_NOISE = re.compile(
    r"^(I0000 |WARNING: All log messages before absl|.*failed call to cuInit"
    r"|.*Unable to register cu(DNN|FFT|BLAS) factory)"
)


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
        "--weights", metavar="FILE", help="a .weights.h5 file of the model in --cfg"
    )
    parser.add_argument(
        "--model",
        metavar="FILE_OR_RUN",
        help="a run folder (its best weights), an exported model (.tflite, .onnx or "
        "the folder of a SavedModel), or a .keras file (with its --cfg)",
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


def load_predictor(args: argparse.Namespace) -> tuple[Predictor, Config]:
    """Loads the model that `--model`, or `--cfg` and `--weights`, and `--mode` name.

    TensorFlow starts only for models that need it.
    """
    if not needs_tensorflow(args.model):
        return load(args.cfg, args.weights, args.model, args.set, args.mode)
    start_tensorflow()
    loaded = load(args.cfg, args.weights, args.model, args.set, args.mode)
    say_tf32()
    return loaded


def say_tf32() -> None:
    """Prints whether GPUs compute in TF32, after a model is loaded."""
    from gcnet_tf.compat import tf32_text

    if text := tf32_text():
        print(text, file=sys.stderr)


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


def start_tensorflow() -> None:
    """Imports TensorFlow without the notices it prints on every start.

    Where it does not use a GPU that is there, a warning says so, and the notices about
    the GPU are shown as well.
    """
    warning = ""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow

            warning = unused_gpu(tensorflow.config.list_physical_devices("GPU"))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured:
                if warning or not _START_UP_NOISE.match(line):
                    sys.stderr.write(line)
    if warning:
        warnings.warn(warning, stacklevel=2)


@contextmanager
def sigterm_cleans_up() -> Iterator[None]:
    """Lets SIGTERM end the command as Ctrl-C does: what is unfinished is removed.

    By default it ends a process at once, whose temporary files and children stay. A
    second one does so here, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler, and gets the signal
        return

    def end(signal_number: int, frame: object) -> None:
        signal.signal(signal_number, before)
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_checkout() -> bool:
    """Tells whether the package lies in a checkout of the project, beside scripts/."""
    return (SCRIPTS / "train.py").is_file()


def load_main(name: str) -> Callable[[Sequence[str] | None], int | None]:
    """Imports a command and returns its `main`.

    Args:
        name: one of `COMMANDS` or `CHECKOUT_COMMANDS`.

    Raises:
        UserError: when the command exists in a checkout only, and this is none.
    """
    if name in COMMANDS:
        return import_module(COMMANDS[name]).main
    file = SCRIPTS / f"{name}.py"
    if not file.is_file():
        raise UserError(
            f"{name} needs a checkout of the project, where it is scripts/{name}.py; "
            "the installed package does not have it."
        )
    # The command imports the package `benchmarks`, which lies beside it.
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # the file ends in .py
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def command_text(name: str, arguments: Sequence[object]) -> str:
    """Returns a line for the shell that starts a command here, quoted for pasting."""
    words = ["python", f"scripts/{name}.py"] if is_checkout() else ["gcnet_tf", name]
    return " ".join(map(quoted, [*words, *arguments]))


def command_line(name: str, argv: Sequence[str] | None) -> str:
    """Returns the line for the shell that started a command.

    Args:
        name: name of the command.
        argv: the arguments that its `main` was given; None for those of the process.
    """
    return command_text(name, sys.argv[1:] if argv is None else argv)


def run_command(name: str, *arguments: object) -> None:
    """Shows another command's line and runs it in this process: TensorFlow starts once.

    When the command fails, this process ends with its exit code.
    """
    print(f"\n$ {command_text(name, arguments)}", flush=True)
    if code := load_main(name)([str(argument) for argument in arguments]):
        sys.exit(code)


def run_training(config: str, run_folder: Path, settings: Sequence[str] = ()) -> None:
    """Runs the command `train`; resumes the run that is in the folder, if any."""
    resume = ["--resume"] if (run_folder / "config.json").is_file() else []
    changes = setting_arguments(settings)
    run_command("train", "--cfg", config, *changes, "--out", run_folder, *resume)


def setting_arguments(settings: Sequence[str]) -> list[str]:
    """Returns settings as arguments for `add_set_argument`."""
    return ["--set", *settings] if settings else []


def training_command(args: argparse.Namespace, *more: object) -> str:
    """Returns the line for the shell that trains with `--cfg` and `--set` of `args`."""
    return command_text(
        "train", ["--cfg", Path(args.cfg), *setting_arguments(args.set), *more]
    )


def printable(text: str) -> str:
    """Escapes what a terminal would obey: messages quote files of others, too."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1]
        for char in text
    )


def as_started_here(text: str) -> str:
    """Rewrites the commands in a text as they are started here, for a wheel."""
    if is_checkout():
        return text
    return re.sub(r"(?:python )?\bscripts/(\w+)\.py", _name_in_wheel, text)


def _name_in_wheel(match: re.Match) -> str:
    return f"gcnet_tf {match[1]}" if match[1] in COMMANDS else match[0]


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's `main`; turns a `UserError` into a message and exit code 2.

    When the reader of the output has gone, as `head` does, it ends without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)  # a name of a file may be any bytes
    warnings.formatwarning = lambda message, *details: (
        f"Warning: {as_started_here(str(message))}\n"
    )
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A class may have a name that the user's locale cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            code: Any = _exit_code(main)
        finally:
            sys.stdout.flush()  # here, because at the exit an error cannot be caught
    except BrokenPipeError:
        if not _silence_closed_pipes():
            raise
        code = EXIT_READER_GONE
    sys.exit(code)


def _exit_code(main: Callable[[], int | None]) -> Any:
    """Runs a command's `main`, prints its errors, and returns the exit code."""
    try:
        return main() or 0
    except SystemExit as end:
        return end.code
    except UserError as error:
        print(f"Error: {as_started_here(printable(str(error)))}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _silence_closed_pipes() -> bool:
    """Sends the rest of an output that nobody reads to nowhere.

    Returns:
        True when there is such an output: when the error is of no other pipe.
    """
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    closed = [
        descriptor
        for descriptor, event in poll.poll(0)
        if event & (select.POLLERR | select.POLLHUP)
    ]
    with open(os.devnull, "wb") as nowhere:
        for descriptor in closed:
            os.dup2(nowhere.fileno(), descriptor)
    return bool(closed)
