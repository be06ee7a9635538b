"""gcnet_tf COMMAND ...: the scripts, for those who have no checkout of them."""

import ast
import sys
from pathlib import Path

from gcnet_tf import cli


def main() -> None:
    """Runs scripts/COMMAND.py with the arguments that follow its name."""
    scripts = cli.scripts()
    lines = [f"  {name:<16}{_summary(path)}" for name, path in scripts.items()]
    parser = cli.script_parser("\n".join(["Commands:", *lines]))
    parser.prog = "gcnet_tf"
    parser.usage = "gcnet_tf COMMAND ...\n       gcnet_tf COMMAND --help"
    parser.add_argument("command", metavar="COMMAND", choices=list(scripts))
    command = parser.parse_args(sys.argv[1:2]).command
    sys.argv = [f"gcnet_tf {command}", *sys.argv[2:]]
    cli.run(cli.load_script(scripts[command]).main)


def _summary(path: Path) -> str:
    """The first line of a script's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
