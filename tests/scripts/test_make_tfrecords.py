"""scripts/make_tfrecords.py as a user runs it: bad labels, kill -9, and success."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import CLASSES, make_folder_tree, save_image

from gcnet_tf.data.records import read_manifest
from gcnet_tf.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_tfrecords.py"

# Runs the script with encoding that hangs at the 13th sample, like a killed run that
# got as far as the middle of a shard.
HANGING = f"""
import itertools, runpy, sys, threading
from gcnet_tf.data import samples
encode_pair, count = samples.encode_pair, itertools.count(1)
def encode(pair, facts):
    if next(count) == 13:
        print("hangs", flush=True)
        threading.Event().wait()
    return encode_pair(pair, facts)
samples.encode_pair = encode
sys.argv[0] = {str(SCRIPT)!r}
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.fixture
def config(tmp_path):
    """Path of a configuration of a folder data set with 20 and 2 images."""
    make_folder_tree(tmp_path / "source", num_train=20)
    data = {
        "dataset": "folder",
        "root": str(tmp_path / "source"),
        "records": str(tmp_path / "records"),
        "classes": list(CLASSES),
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data": data}))
    return path


def convert(monkeypatch, capsys, *arguments):
    """Runs the script in this process, which saves starting TensorFlow."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    assert runpy.run_path(str(SCRIPT))["main"]() == 0
    return capsys.readouterr().out


def test_a_bad_label_ends_with_one_message(config, tmp_path):
    label = tmp_path / "source" / "train" / "labels" / "train_007.png"
    save_image(label, np.full((24, 32), 9, np.uint8))
    result = subprocess.run(
        [sys.executable, SCRIPT, "--cfg", config], capture_output=True, text=True
    )
    assert result.returncode == 2, result.stderr
    assert f"{label} holds the value 9; allowed are 0..2" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("records/*/manifest.json"))


def test_a_run_after_kill_9_starts_anew(config, tmp_path, monkeypatch, capsys):
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING, "--cfg", config, "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "hangs\n", process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = sorted(path.suffix for path in (tmp_path / "records" / "train").iterdir())
    assert ".partial" in left and ".tfrecord" in left
    assert "manifest.json" not in left

    output = convert(monkeypatch, capsys, "--cfg", config)
    assert "train: 20 images in 8 files\n" in output
    manifest = read_manifest(tmp_path / "records", "train")
    assert manifest.num_samples == 20
    assert len(list((tmp_path / "records" / "train").iterdir())) == 9


def test_what_it_prints(config, monkeypatch, capsys):
    output = convert(monkeypatch, capsys, "--cfg", config, "--set", "train.seed=1")
    assert "train: 20 images in 8 files\nval: 2 images in 2 files\n" in output
    assert "ground            25.00%    25.00%\n" in output
    assert (
        f"Next:    python scripts/train.py --cfg {config} --set train.seed=1" in output
    )
    assert "Warning" not in output

    again = convert(monkeypatch, capsys, "--cfg", config)
    assert again.count("they were there already, --overwrite makes them again") == 2
    overwritten = convert(monkeypatch, capsys, "--cfg", config, "--overwrite")
    assert "already" not in overwritten


def test_a_class_without_pixels_is_mentioned(config, tmp_path, monkeypatch, capsys):
    """Masks of 0 and 255, which people mean as two classes."""
    for path in (tmp_path / "source" / "train" / "labels").iterdir():
        save_image(path, np.resize(np.array([0, 255], np.uint8), (24, 32)))
    output = convert(monkeypatch, capsys, "--cfg", config)
    assert "Warning: no training pixel has the class tree, house." in output


def test_workers_must_be_positive(config, monkeypatch, capsys):
    with pytest.raises(UserError, match="--workers: received 0"):
        convert(monkeypatch, capsys, "--cfg", config, "--workers", 0)
