"""scripts/make_config.py as a user runs it, and the command that it tells."""

import shlex
import subprocess
import sys
from pathlib import Path

from helpers import make_folder_tree

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words, code=0):
    result = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stderr


def test_the_next_command_works(tmp_path):
    root, out = make_folder_tree(tmp_path / "my data"), tmp_path / "my data.json"
    script = [sys.executable, "scripts/make_config.py", root, "--out", out]
    output = run(*script, "--name", "mine")
    assert "3 train, 2 val" in output
    (command,) = [line for line in output.splitlines() if line.startswith("Next:")]
    _, python, *words = shlex.split(command)
    assert python == "python"
    records = f"data.records={tmp_path / 'records'}"
    assert "train: 3 images" in run(sys.executable, *words, "--set", records)

    before = out.read_bytes()
    assert "exists already" in run(*script, code=2)
    assert out.read_bytes() == before
