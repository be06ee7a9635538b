import os
import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from gcnet_tf import __main__ as command
from gcnet_tf.commands import CHECKOUT_COMMANDS, COMMANDS, cli
from gcnet_tf.commands.cli import lines, process
from gcnet_tf.errors import UserError


def outcome(main):
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code


def test_exit_codes(capsys):
    def bad_input():
        raise UserError("No such thing.")

    def interrupted():
        raise KeyboardInterrupt

    assert outcome(lambda: None) == 0
    assert outcome(lambda: 3) == 3
    assert outcome(bad_input) == 2
    assert capsys.readouterr().err == "Error: No such thing.\n"
    assert outcome(interrupted) == 130


def test_messages_do_not_command_the_terminal(capsys):
    def quoted():
        raise UserError("No \x1b[2J\x07 thing: é\nhere.")

    assert outcome(quoted) == 2
    assert capsys.readouterr().err == "Error: No \\x1b[2J\\x07 thing: é\nhere.\n"


def test_bugs_keep_their_traceback():
    def bug():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        cli.run(bug)


def test_warnings_are_one_line():
    def warned():
        print(
            warnings.formatwarning("Mind the gap.", UserWarning, "file.py", 1), end=""
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        outcome(warned)
        assert warnings.formatwarning("Mind it.", UserWarning, "f", 1) == (
            "Warning: Mind it.\n"
        )


@pytest.mark.slow
def test_tensorflow_starts_silently_but_errors_are_shown():
    code = (
        "from gcnet_tf.commands import cli; import os; cli.start_tensorflow(); "
        "os.write(2, b'after')"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == "after"


@pytest.mark.parametrize(
    "line, shown",
    [
        ("I0000 00:00:17 1 port.cc:153] oneDNN custom operations are on.", False),
        ("WARNING: All log messages before absl::InitializeLog()", False),
        ("E0000 00:00:17 1 cuda_platform.cc:52] failed call to cuInit: X", False),
        ("W0000 00:00:17 1 gpu_device.cc:1] Cannot dlopen some GPU libraries.", True),
    ],
)
def test_start_up_noise_is_hidden(line, shown):
    assert (process._START_UP_NOISE.match(line) is None) == shown


def test_a_gpu_that_is_not_used_is_told(monkeypatch):
    """Without it, the hidden line about cuInit would be the only sign."""
    monkeypatch.setattr(process, "unused_gpu", lambda gpus: "a GPU is there")
    with pytest.warns(match="a GPU is there"):
        cli.start_tensorflow()


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gcnet_tf", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code


def test_the_command_runs_the_scripts(monkeypatch, capsys):
    assert run_command(monkeypatch, "show_config", "--cfg", "voc_r50_20k") == 0
    assert '"iterations": 20000' in capsys.readouterr().out
    assert run_command(monkeypatch, "show_config", "--cfg", "gone") == 2
    assert capsys.readouterr().err.startswith("Error: gone is neither a file nor")


def test_the_command_lists_the_scripts(monkeypatch, capsys):
    assert run_command(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for name, module in COMMANDS.items():
        summary = import_module(module).__doc__.partition("\n")[0]
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert line.split(maxsplit=1)[1] == summary.strip()
    assert run_command(monkeypatch, "train", "--help") == 0
    assert "usage: gcnet_tf train" in capsys.readouterr().out


def test_a_checkout_has_more_commands(monkeypatch, capsys, tmp_path):
    for name in CHECKOUT_COMMANDS:
        assert (cli.SCRIPTS / f"{name}.py").is_file()
    monkeypatch.setattr(lines, "SCRIPTS", tmp_path)
    for words in (["demo"], ["compare", "--help"], ["determinism"]):
        assert run_command(monkeypatch, *words) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"Error: {words[0]} needs a checkout")
        assert message.count("\n") == 1


def test_every_script_is_a_command():
    names = {path.stem for path in cli.SCRIPTS.glob("*.py")}
    assert names == {*COMMANDS, *CHECKOUT_COMMANDS}


def test_commands_are_named_as_they_are_started(monkeypatch, tmp_path):
    text = "python scripts/train.py --cfg C; scripts/export.py; scripts/gone.py"
    assert cli.as_started_here(text) == text
    assert cli.command_text("train", ["--cfg", "a b"]) == (
        "python scripts/train.py --cfg 'a b'"
    )
    monkeypatch.setattr(lines, "SCRIPTS", tmp_path)
    expected = "gcnet_tf train --cfg C; gcnet_tf export; scripts/gone.py"
    assert cli.as_started_here(text) == expected
    assert cli.command_text("train", ["--cfg", "C"]) == "gcnet_tf train --cfg C"


def test_the_command_refuses_other_names(monkeypatch, capsys):
    assert run_command(monkeypatch, "trian") == 2
    text = capsys.readouterr().err
    assert "invalid choice: 'trian'" in text and "train" in text


def test_scripts_run_scripts_from_anywhere(monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    cli.run_command("show_config", "--cfg", "voc_r50_20k")
    text = capfd.readouterr().out
    assert text.startswith("\n$ python scripts/show_config.py --cfg voc_r50_20k\n")
    assert '"iterations": 20000' in text
    # An error in its input ends the caller in the same way.
    assert outcome(lambda: cli.run_command("show_config", "--cfg", "gone")) == 2
    assert capfd.readouterr().err.startswith("Error: gone is neither a file nor")


def test_an_interrupted_script_ends_the_one_that_runs_it(monkeypatch, tmp_path, capsys):
    """A training that Ctrl-C stops returns 130, with which the caller ends, too."""
    received = []
    main = lambda words: received.extend(words) or 130  # noqa: E731
    monkeypatch.setattr(lines, "load_main", lambda name: main)
    with pytest.raises(SystemExit) as end:
        cli.run_training("shapes_r18", tmp_path / "run", ["train.seed=1", "a=b c"])
    assert end.value.code == 130
    out = ["--out", str(tmp_path / "run")]
    expected = ["--cfg", "shapes_r18", "--set", "train.seed=1", "a=b c", *out]
    assert received == expected
    # Quoted for pasting.
    assert "--set train.seed=1 'a=b c' --out" in capsys.readouterr().out


def test_several_settings_behind_one_set():
    parser = cli.script_parser("")
    cli.add_config_arguments(parser)
    arguments = ["--set", "a=1", "b=2", "--cfg", "x", "--set", "c=3"]
    assert parser.parse_args(arguments).set == ["a=1", "b=2", "c=3"]
    # The next parse begins without them.
    assert parser.parse_args(["--cfg", "x"]).set == []
