"""The program `gcnet_tf COMMAND ...`, with or without a checkout of the project."""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

from gcnet_tf.commands import CHECKOUT_COMMANDS, COMMANDS, cli


def main() -> None:
    """Runs the command with the arguments that follow its name."""
    lines = [f"  {name:<16}{_summary(name)}" for name in COMMANDS]
    checkout_line = (
        f"In a checkout of the project also: {', '.join(CHECKOUT_COMMANDS)}."
    )
    parser = cli.script_parser("\n".join(["Commands:", *lines, "", checkout_line]))
    parser.prog = "gcnet_tf"
    parser.usage = "gcnet_tf COMMAND ...\n       gcnet_tf COMMAND --help"
    parser.add_argument(
        "command", metavar="COMMAND", choices=[*COMMANDS, *CHECKOUT_COMMANDS]
    )
    command = parser.parse_args(sys.argv[1:2]).command
    sys.argv = [f"gcnet_tf {command}", *sys.argv[2:]]
    cli.run(lambda: cli.load_main(command)(None))


def _summary(command: str) -> str:
    """Reads the first line of a command's docstring, without importing it."""
    spec = find_spec(COMMANDS[command])
    assert spec is not None and spec.origin is not None  # our own file
    docstring = ast.get_docstring(
        ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    )
    return (docstring or "").partition("\n")[0]


if __name__ == "__main__":
    main()
