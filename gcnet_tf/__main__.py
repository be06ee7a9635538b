"""gcnet_tf COMMAND ...: the scripts, for those who have no checkout of them."""

import ast
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
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
    cli.run(_main_of(command, scripts[command]))


def _main_of(name: str, path: Path) -> Callable[[], int | None]:
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a Python file
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def _summary(path: Path) -> str:
    """The first line of a script's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
