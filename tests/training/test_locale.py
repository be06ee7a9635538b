"""A training whose classes have names that the locale cannot write."""

import json
import os
import subprocess
import sys

import pytest
from helpers import make_folder_tree

NAME = "Stra\u00dfe"


@pytest.mark.slow
def test_logs_are_utf8_in_the_c_locale(tmp_path):
    data = {
        "dataset": "folder",
        "root": str(make_folder_tree(tmp_path / "source")),
        "records": str(tmp_path / "records"),
        "classes": [NAME, "tree", "house"],
    }
    branch = {"channels": 8}
    config = {
        "data": data,
        "model": {
            "backbone": {"depth": 18, "base_channels": 4, "pretrained": None},
            "head": branch,
            "auxiliary": branch,
        },
        "augment": {"crop_size": [16, 16], "base_scale": [32, 32]},
        "evaluation": {"scale": [32, 32]},
        "train": {"batch_size": 2, "iterations": 1, "class_weights": "auto"},
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LC_")}
    # Python would choose UTF-8 by itself in this locale, but not in all others.
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = tmp_path / "run"
    result = subprocess.run(
        [sys.executable, "-m", "gcnet_tf", "train", "--cfg", file, "--out", run],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert f"Class weights: {NAME} " in (run / "train.log").read_text("utf-8")
    # The terminal's part is readable, too.
    assert r"Class weights: Stra\xdfe " in result.stdout
