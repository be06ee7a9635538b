import json
import subprocess
import sys
from pathlib import Path

import pytest

from gcnet_tf.config import config_from_dict, load_config

ROOT = Path(__file__).resolve().parents[2]


def show_config(*arguments):
    """Runs the script as a user does, away from the repository's folder."""
    command = [sys.executable, "-X", "importtime", ROOT / "scripts" / "show_config.py"]
    result = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd="/"
    )
    imported = [line for line in result.stderr.splitlines() if "import time:" in line]
    assert imported and not any("tensorflow" in line for line in imported)
    others = [line for line in result.stderr.splitlines() if line not in imported]
    result.stderr = "\n".join(others)
    return result


def test_prints_the_resolved_configuration():
    result = show_config("--cfg", "voc_r50_20k", "--set", "train.batch_size=3")
    assert result.returncode == 0, result.stderr
    raw = json.loads(result.stdout)
    assert raw["train"]["batch_size"] == 3
    assert config_from_dict(raw) == load_config("voc_r50_20k", ["train.batch_size=3"])


def test_prints_every_setting_with_its_documentation():
    result = show_config("--describe")
    assert result.returncode == 0
    assert "train.learning_rate = 0.01" in result.stdout
    assert "# The largest learning rate: that of the first step" in result.stdout


def test_prints_the_schema():
    result = show_config("--schema")
    assert result.returncode == 0
    assert result.stdout == (ROOT / "configs" / "schema.json").read_text()


def test_prints_the_published_rows():
    result = show_config("--table")
    assert result.returncode == 0
    assert result.stdout in (ROOT / "configs" / "README.md").read_text()


@pytest.mark.parametrize(
    "arguments, phrase",
    [
        (["--cfg", "voc_r50"], "voc_r50_20k"),
        (["--cfg", "voc_r50_20k", "--set", "train.batchsize=8"], "train.batch_size"),
        (["--cfg", "voc_r50_20k", "--set", "train.batch_size"], "key=value"),
        ([], "--cfg"),
        (["--describe", "--cfg", "voc_r50_20k"], "leave out --cfg"),
    ],
)
def test_wrong_arguments_end_with_one_message_and_code_2(arguments, phrase):
    result = show_config(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ") and phrase in result.stderr
    assert "Traceback" not in result.stderr
