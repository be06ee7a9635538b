"""The commands, run one after the other as a user does, on a tree in VOC's layout.

One training and one prediction are started as a user starts them; `script_server` runs
all other commands.
"""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import make_voc_tree
from PIL import Image
from script_server import REPOSITORY

SMALL = {
    "_base_": str(REPOSITORY / "configs" / "voc_r50_20k.json"),
    "model": {
        "backbone": {"depth": 18, "base_channels": 4, "pretrained": None},
        "head": {"channels": 8},
        "auxiliary": {"channels": 8},
    },
    "augment": {"base_scale": [64, 32], "crop_size": [32, 32]},
    "evaluation": {"scale": [64, 32]},
    "train": {
        "batch_size": 2,
        "iterations": 100000,
        "log_every": 1,
        "evaluate_every": 2,
        "checkpoint_every": 2,
    },
}


def command(name, *arguments):
    """Returns the command that a user types."""
    return [sys.executable, f"scripts/{name}.py", *map(str, arguments)]


def wait_for(condition, process, output, seconds=300):
    """Waits for a condition; `output` returns the text of a process that has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, output()[-3000:]
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def iterations(run_folder):
    path = run_folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [r["iteration"] for r in records if r["kind"] == "train"]


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """The folder with the data set and the configuration of all tests here."""
    folder = tmp_path_factory.mktemp("line")
    make_voc_tree(folder / "VOC2012")
    data = {
        "root": str(folder / "VOC2012"),
        "records": str(folder / "records"),
        "allow_partial": True,
    }
    (folder / "config.json").write_text(json.dumps({**SMALL, "data": data}))
    return folder


@pytest.fixture(scope="module")
def trained(scripts, line):
    """A run folder of four iterations; the training makes the records first."""
    end = ["--set", "train.iterations=4", "--out", line / "trained"]
    scripts.run("train", "--cfg", line / "config.json", *end)
    return line / "trained"


@pytest.mark.slow
def test_convert_train_kill_resume_interrupt(scripts, line):
    """The steps are kill -9, --resume and Ctrl-C, each with its messages."""
    config, run_folder = line / "config.json", line / "run"
    assert "train: 5 images" in scripts.run("make_tfrecords", "--cfg", config).stdout

    arguments = ["--cfg", config, "--out", run_folder]
    checkpoints = run_folder / "checkpoints"
    with scripts.start("train", *arguments, combined=True) as process:
        wait_for(
            lambda: checkpoints.is_dir() and 3 in iterations(run_folder),
            process,
            output=lambda: process.stdout,
        )
        process.kill()
        assert process.wait().code == -signal.SIGKILL

    text = scripts.run("train", *arguments, code=2).stderr
    assert "already exists" in text and "--resume" in text

    before = max(int(path.name) for path in checkpoints.glob("[0-9]*"))
    with subprocess.Popen(
        command("train", *arguments, "--resume"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_for(
                lambda: before + 3 in iterations(run_folder),
                process,
                output=lambda: process.communicate()[0],
            )
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert f"Resuming {run_folder} at iteration {before} of" in text
    assert f"--out {run_folder} --resume" in text and "Traceback" not in text
    done = iterations(run_folder)
    assert done == list(range(1, len(done) + 1))
    assert max(int(path.name) for path in checkpoints.iterdir()) == done[-1]


def test_evaluate_export_predict(scripts, line, trained):
    model = ["--model", trained]
    text = scripts.run("evaluate", *model, "--json", line / "whole.json").stdout
    assert "aeroplane" in text and "mIoU" in text
    metrics = json.loads((line / "whole.json").read_text())

    for mode in ("slide", "ms_flip"):
        scripts.run("evaluate", *model, "--mode", mode, "--json", line / f"{mode}.json")
    # The images are smaller than a window: one window is the whole image.
    slide, ms_flip = (
        json.loads((line / f"{mode}.json").read_text()) for mode in ("slide", "ms_flip")
    )
    assert slide == metrics and ms_flip["mIoU"] != metrics["mIoU"]

    form = ["--format", "saved_model", "--precision", "fp32"]
    text = scripts.run("export", *model, *form, "--out", line / "export").stdout
    assert re.search(r"^saved_model_fp32 +\d+\.\d +100\.000%", text, re.MULTILINE)
    exported = ["--model", line / "export" / "saved_model_fp32"]
    scripts.run("evaluate", *exported, "--json", line / "exported.json")
    exported_metrics = json.loads((line / "exported.json").read_text())
    assert exported_metrics["mIoU"] == pytest.approx(metrics["mIoU"], abs=1e-3)

    weights = ["--cfg", line / "config.json", "--weights", trained / "best.weights.h5"]
    images = line / "VOC2012" / "JPEGImages"
    words = [*weights, "--image", images, "--out", line / "from_weights"]
    result = subprocess.run(
        command("predict", *words), cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    scripts.run("predict", *exported, "--image", images, "--out", line / "from_export")
    names = sorted(path.name for path in (line / "from_export").iterdir())
    assert len(names) == 2 * len(list(images.iterdir()))
    for path in images.iterdir():
        labels, others = (
            np.asarray(Image.open(line / folder / f"{path.stem}.png"))
            for folder in ("from_weights", "from_export")
        )
        assert labels.shape == (24, 32) and labels.dtype == np.uint8
        assert labels.max() < 21
        assert (labels != others).mean() < 0.02


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("train", ["--cfg", "configs/voc_r50_20k.json"], "VOCtrainval_11-May-2012.tar"),
        ("train", ["--cfg", "configs/voc_r50_20.json"], "voc_r50_20k"),
        ("train", ["--cfg", "voc_r50_20k", "--set", "train.batch=8"], "batch_size"),
        ("train", ["--cfg", "shapes_r18", "--resume", "--out", "{}"], "Nothing to res"),
        ("evaluate", [], "--weights and --cfg"),
        ("evaluate", ["--model", "nowhere"], "neither a run folder"),
        ("predict", ["--model", "x", "--image", "no.jpg", "--out", "{}"], "no.jpg"),
        ("export", ["--model", "{}", "--out", "{}/export"], "neither a run folder"),
    ],
)
def test_bad_input_is_one_message(name, arguments, words, scripts, tmp_path):
    data = [
        "--set",
        f"data.root={tmp_path}/gone",
        "--set",
        f"data.records={tmp_path}/r",
    ]
    needs_data = name == "train" and "--resume" not in arguments
    arguments = [text.format(tmp_path / "run") for text in arguments]
    words_of_data = data if needs_data else []
    text = scripts.run(name, *arguments, *words_of_data, code=2).stderr
    assert text.startswith("Error: ") and words in text


def test_weights_of_other_classes_are_refused(scripts, line, trained, tmp_path):
    text = scripts.run(
        "predict",
        *["--cfg", line / "config.json", "--set", "model.head.channels=16"],
        *["--weights", trained / "best.weights.h5"],
        *["--image", line / "VOC2012" / "JPEGImages", "--out", tmp_path / "out"],
        code=2,
    ).stderr
    assert "do not fit" in text
    assert not (tmp_path / "out").exists()
