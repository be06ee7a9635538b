"""scripts/make_config.py, and the next command that it prints."""

import shlex
from pathlib import Path

from helpers import call_script, make_folder_tree

from gcnet_tf.config import load_config


def test_the_next_command_works(scripts, tmp_path):
    root, out = make_folder_tree(tmp_path / "my data"), tmp_path / "my data.json"
    arguments = ["make_config", root, "--out", out]
    output = scripts.run(*arguments, "--name", "mine").stdout
    assert "3 train, 2 val" in output
    (command,) = [line for line in output.splitlines() if line.startswith("Next:")]
    _, python, script, *words = shlex.split(command)
    assert python == "python"
    records = f"data.records={tmp_path / 'records'}"
    converted = scripts.run(Path(script), *words, "--set", records)
    assert "train: 3 images" in converted.stdout

    before = out.read_bytes()
    assert "exists already" in scripts.run(*arguments, code=2).stderr
    assert out.read_bytes() == before


def test_folders_of_the_same_name_do_not_share_records(tmp_path):
    records = set()
    for project in ("a", "b"):
        root = make_folder_tree(tmp_path / project / "dataset", 1, 1)
        out = tmp_path / f"{project}.json"
        call_script("make_config", root, "--out", out)
        records.add(load_config(out).data.records)
    assert len(records) == 2
    assert all(path.startswith("data/tfrecords/dataset-") for path in records)
