"""Commands as lines for the shell, and commands that run others."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from gcnet_tf.commands import COMMANDS
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import quoted
from gcnet_tf.files.remote.addresses import is_remote

# In a checkout the project's scripts lie beside the package.
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


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
    cfg = args.cfg if is_remote(args.cfg) else Path(args.cfg)
    return command_text("train", ["--cfg", cfg, *setting_arguments(args.set), *more])


def as_started_here(text: str) -> str:
    """Rewrites the commands in a text as they are started here, for a wheel."""
    if is_checkout():
        return text
    return re.sub(r"(?:python )?\bscripts/(\w+)\.py", _name_in_wheel, text)


def _name_in_wheel(match: re.Match) -> str:
    return f"gcnet_tf {match[1]}" if match[1] in COMMANDS else match[0]
