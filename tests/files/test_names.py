"""Names of files, and lines that people paste into a shell."""

import argparse
import os
import shlex
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from gcnet_tf.commands import cli
from gcnet_tf.config import config_from_dict, load_config
from gcnet_tf.data.catalog import dataset_facts
from gcnet_tf.data.prepare import ensure_source
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import as_on_disk, from_bytes, quoted, to_bytes
from gcnet_tf.training.monitor.run_folder import check_run, open_run

NAMES = [
    "my data",
    "it's",
    'a "b"',
    "$HOME `id`",
    "two\nlines",
    "a;b&c|d>e*?[f]",
    "été 道路",
    "back\\slash",
    "~",
    "#a",
    "!a",
]


def in_bash(line: str) -> list[bytes]:
    """The words that a shell makes of a line."""
    script = b"for word in " + to_bytes(line) + b"; do printf '%s\\0' \"$word\"; done"
    result = subprocess.run(["bash", "-c", script], check=True, capture_output=True)
    return result.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_one_word(name):
    assert shlex.split(quoted(name)) == [name]
    assert in_bash(quoted(name)) == [name.encode()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bytes_that_are_not_utf_8_can_be_pasted():
    name = b"t\xe9 \\x it's\n\xc3\xa9"
    word = quoted(from_bytes(name))
    assert word.encode()  # any terminal can show it
    assert in_bash(word) == [name]


def test_a_path_is_no_option():
    assert quoted(Path("-x y")) == "'./-x y'"
    assert quoted(Path("/a/-x")) == "/a/-x"
    assert quoted("--set") == "--set"


@pytest.mark.parametrize("name", [*NAMES, "-x"])
def test_every_command_that_is_printed_can_be_pasted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setting = f"data.root={name}"
    args = argparse.Namespace(cfg=f"{name}.json", set=[setting])
    _, script, *words = shlex.split(cli.training_command(args, "--out", Path(name)))
    path = f"./{name}" if name.startswith("-") else name
    assert words == ["--cfg", f"{path}.json", "--set", setting, "--out", path]
    parser = cli.script_parser("")
    cli.add_config_arguments(parser)
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args(words)
    assert parsed.out == Path(name) and Path(parsed.cfg) == Path(args.cfg)

    open_run(Path(name), load_config("shapes_r18"))
    changed = load_config("shapes_r18", ["train.seed=7"])
    with pytest.raises(UserError) as error:
        check_run(Path(name), changed, resume=True)
    command = str(error.value).partition("Resume with ")[2].rpartition(", or start")[0]
    parsed = parser.parse_args([word for word in shlex.split(command)[:-1]])
    assert parsed.out == Path(name) and Path(parsed.cfg) == Path(name, "config.json")


@pytest.mark.parametrize("dataset", ["labelme", "cvat"])
def test_the_instructions_can_be_pasted(dataset):
    folder = "no such 'folder'"
    assert "{quoted_root}" in dataset_facts(dataset, ("a", "b")).instructions
    data = {"dataset": dataset, "root": folder, "classes": ["a", "b"]}
    config = config_from_dict({"data": data})
    with pytest.raises(UserError) as error:
        ensure_source(config)
    (line,) = [s for s in str(error.value).splitlines() if "make_config.py" in s]
    assert shlex.split(line)[3] == folder


def test_a_file_is_found_under_both_forms_of_its_accents(tmp_path):
    composed, decomposed = (unicodedata.normalize(f, "é.png") for f in ("NFC", "NFD"))
    (tmp_path / decomposed).touch()
    assert as_on_disk(tmp_path / composed) == tmp_path / decomposed
    (tmp_path / composed).touch()
    assert as_on_disk(tmp_path / composed) == tmp_path / composed
    (tmp_path / decomposed).unlink()
    assert as_on_disk(tmp_path / decomposed) == tmp_path / composed
    assert as_on_disk(tmp_path / "other") == tmp_path / "other"
    # Folders have a form of their own.
    (tmp_path / decomposed).mkdir()
    (tmp_path / composed).unlink()
    (tmp_path / decomposed / composed).touch()
    for first in (composed, decomposed):
        for second in (composed, decomposed):
            found = as_on_disk(tmp_path / first / second)
            assert found == tmp_path / decomposed / composed


def test_a_name_as_bytes():
    name = os.fsdecode(b"\xc3\xa9\xe9")
    assert from_bytes(to_bytes(name)) == name
    assert to_bytes("é") == b"\xc3\xa9"
