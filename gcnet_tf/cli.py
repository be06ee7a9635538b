"""What all scripts share: arguments that recur, and how errors reach the user."""

import argparse
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.exported import Predictor, load_exported, needs_tensorflow
from gcnet_tf.runtime.protocol import MODES

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
# BSD's EX_TEMPFAIL: start it again.
EXIT_WORKER_LOST = 75

# What TensorFlow writes on every start, whatever TF_CPP_MIN_LOG_LEVEL says: the logging
# of 2.21 is not set up yet at that point, and 2.15 registers CUDA's libraries twice.
# cuInit fails on any machine without a GPU.
_START_UP_NOISE = re.compile(
    r"^(I0000 |WARNING: All log messages before absl|.*failed call to cuInit"
    r"|.*Unable to register cu(DNN|FFT|BLAS) factory)"
)


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows the script's docstring, with its examples, in `--help`."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
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


def add_mode_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--mode`."""
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="whole: the image at once; slide: in windows, scores averaged; ms_flip: "
        "the configuration's way at several scales, each also mirrored; tiled: in "
        "windows without any scaling, for very large images; default: as the "
        "configuration says",
    )


def load_predictor(args: argparse.Namespace) -> Predictor:
    """What `add_model_arguments` and `add_mode_argument` name.

    TensorFlow starts only for models that need it.
    """
    if needs_tensorflow(args.model):
        start_tensorflow()
        from gcnet_tf.evaluation.load import load_predictor as load

        return load(args.cfg, args.weights, args.model, args.set, args.mode)
    return load_exported(args.model, args.set, args.mode, args.cfg, args.weights)


def require_positive(args: argparse.Namespace, *names: str) -> None:
    """Refuses numbers below 1; None, an argument that was not given, is fine."""
    for name in names:
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UserError(f"--{name}: received {number}; it must be at least 1.")


def start_tensorflow() -> None:
    """Imports TensorFlow without the notices it prints on every start.

    Everything else that it says, such as a GPU library that cannot be loaded, is shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured:
                if not _START_UP_NOISE.match(line):
                    sys.stderr.write(line)


def scripts() -> dict[str, Path]:
    """Name and file of every script, in the order of the alphabet."""
    package = Path(__file__).resolve().parent
    # In the wheel they lie inside the package, in a checkout beside it.
    folders = [package / "scripts", package.parent / "scripts"]
    folder = next((item for item in folders if (item / "train.py").is_file()), None)
    return {} if folder is None else {p.stem: p for p in sorted(folder.glob("*.py"))}


def load_script(path: Path) -> ModuleType:
    """Imports a script by its file, because scripts/ is no package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # it is a Python file
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_line(name: str, argv: Sequence[str] | None) -> str:
    """The shell command that a script was started with.

    Args:
        name: of the script.
        argv: what its `main` was given; None for the arguments of the process.
    """
    words = sys.argv[1:] if argv is None else argv
    return shlex.join(["python", f"scripts/{name}.py", *words])


def run_script(name: str, *arguments: object) -> None:
    """Shows another script's command line and runs it, here: TensorFlow starts once.

    When it fails, this process ends the same way.
    """
    words = [str(argument) for argument in arguments]
    print(f"\n$ {command_line(name, words)}", flush=True)
    if code := load_script(scripts()[name]).main(words):
        sys.exit(code)


def run_training(config: str, run_folder: Path, settings: Sequence[str] = ()) -> None:
    """Runs scripts/train.py, or goes on with the run that is in the folder already."""
    resume = ["--resume"] if (run_folder / "config.json").is_file() else []
    changes = setting_arguments(settings)
    run_script("train", "--cfg", config, *changes, "--out", run_folder, *resume)


def setting_arguments(settings: Sequence[str]) -> list[str]:
    """The arguments that `add_set_argument` takes for them."""
    return ["--set", *settings] if settings else []


def training_command(args: argparse.Namespace, *more: str) -> str:
    """The shell command that trains with the `--cfg` and `--set` of `args`."""
    settings = setting_arguments(args.set)
    command = ["python", "scripts/train.py", "--cfg", args.cfg, *settings, *more]
    return shlex.join(command)


def run(main: Callable[[], int | None]) -> None:
    """Runs a script's `main`; a `UserError` becomes one message and exit code 2."""
    warnings.formatwarning = lambda message, *rest: f"Warning: {message}\n"
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
