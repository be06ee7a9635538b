"""Every argument of every command: an address is understood, or refused in a sentence.

An argument that is new refuses addresses until its command says that it takes them.
"""

import argparse
import sys
from pathlib import Path

import pytest

from gcnet_tf.commands import CHECKOUT_COMMANDS, COMMANDS, cli
from gcnet_tf.errors import UserError

ADDRESS = "gs://bucket/run"
# Arguments that take addresses. Those of launch_local are the training's.
TAKEN = {
    "check_data": {"cfg"},
    "evaluate": {"cfg", "model", "weights"},
    "export": {"cfg", "model", "weights"},
    "export_mmseg": {"cfg", "model", "weights"},
    "import_mmseg": {"cfg"},
    "launch_local": {"arguments"},
    "make_tfrecords": {"cfg"},
    "predict": {"cfg", "image", "model", "weights"},
    "report": {"cfg", "image", "model"},
    "show_attention": {"image", "model", "other"},
    "show_config": {"cfg"},
    "train": {"cfg", "out"},
}
NAMES = [*COMMANDS, *CHECKOUT_COMMANDS]


class Stopped(Exception):
    """Ends a command when its arguments are known."""


def parser_of(name, monkeypatch):
    """Returns the parser of a command, which is stopped when it parses."""
    parsers = []

    def remember(parser, args=None, namespace=None):
        parsers.append(parser)
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(cli.Parser, "parse_known_args", remember)
        with pytest.raises(Stopped):
            cli.load_main(name)([])
    return parsers[0]


def parsers_below(parser):
    """Yields a parser and those of its sub-commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers_below(inner)


@pytest.mark.parametrize("name", NAMES)
def test_each_argument_takes_an_address_or_refuses_it(name, monkeypatch, tmp_path):
    first = parser_of(name, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for parser in parsers_below(first):
        # Without it, an argument that is missing would be told first.
        for item in [*parser._actions, *parser._mutually_exclusive_groups]:
            item.required = False
        for action in parser._actions:
            is_text = action.type in (None, str, Path) and action.nargs != 0
            if not is_text or action.choices is not None or action.dest == "help":
                continue
            words = [ADDRESS] * (action.nargs if isinstance(action.nargs, int) else 1)
            argv = [*action.option_strings[:1], *words]
            if action.dest in TAKEN.get(name, ()):
                parser.parse_args(argv)
                continue
            with pytest.raises(UserError, match="received the address gs:/") as caught:
                parser.parse_args(argv)
            assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_argument_that_is_text_was_met(monkeypatch):
    """The test above would pass by meeting none."""
    taking = {
        name: parser_of(name, monkeypatch).taking_addresses & TAKEN[name]
        for name in TAKEN
    }
    assert taking == TAKEN


@pytest.mark.parametrize(
    "name, argv",
    [
        ("train", ["--cfg", "shapes_r18", "--out", "memory://run"]),
        ("train", ["--cfg", "s3://bucket/my.json"]),
        ("predict", ["--model", "s3://bucket/run", "--image", "a.jpg", "--out", "o"]),
        ("report", ["--model", "s3://bucket/run", "--out", "page.html"]),
        ("make_tfrecords", ["--cfg", "shapes_r18", "--set", "data.root=s3://b/x"]),
    ],
)
def test_without_the_extra_commands_end_in_a_sentence(
    name, argv, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: cli.load_main(name)(argv))
    assert end.value.code == cli.EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert "gcnet_tf[cloud]" in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())
