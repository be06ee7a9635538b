"""scripts/check_data.py, run as a user does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import make_folder_config, save_image
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_data.py"


@pytest.fixture
def config(tmp_path):
    return make_folder_config(tmp_path / "config.json")


def run(*arguments, code=0):
    """Runs it and returns its output; `-X importtime` lists the imports on stderr."""
    command = [sys.executable, "-X", "importtime", SCRIPT, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == code, result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    assert "tensorflow" not in result.stderr
    return result.stdout if code == 0 else result.stdout + result.stderr


def test_a_good_set(config):
    text = run("--cfg", config)
    assert "train: 3 images" in text and "val: 2 images" in text
    assert "Found 0 errors, 0 warnings, 0 notes." in text
    assert f"Next:     python scripts/train.py --cfg {config}" in text


def test_errors_end_with_code_2_and_are_in_the_files(config, tmp_path):
    label = tmp_path / "source" / "train" / "labels" / "train_001.png"
    save_image(label, np.full((24, 32), 9, np.uint8))
    json_file, sheet = tmp_path / "new" / "a.json", tmp_path / "new" / "b.png"
    text = run("--cfg", config, "--json", json_file, "--sheet", sheet, code=2)
    assert f"  {label}: 9 (768 pixels)" in text and "Found 1 error," in text
    assert "train.py" not in text
    assert json.loads(json_file.read_text())["num_errors"] == 1
    with Image.open(sheet) as image:
        assert image.width == 4 * 246  # four good pairs in a row
    assert not (tmp_path / "records").exists()


def test_one_split(config, tmp_path):
    (tmp_path / "source" / "train" / "labels" / "train_001.png").unlink()
    text = run("--cfg", config, "--split", "val")
    assert "val: 2 images" in text and "train: " not in text


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--sheet", "a.jpg"], "must end in .png"),
        (["--set", "data.root=/nowhere/at/all"], "does not exist"),
        (["--set", "data.rot=x"], "data.root"),
    ],
)
def test_bad_input_is_one_message(arguments, words, config):
    text = run("--cfg", config, *arguments, code=2)
    assert "Error: " in text and words in text
