"""Prediction by engines of Beam: the files of the local one, and a line per image."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import call_script, random_image, save_image

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.weights.files import save_weights

pytestmark = pytest.mark.filterwarnings("default")
SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"
CITYSCAPES = "cityscapes_r50_512x1024_40k"
SETTINGS = [
    "model.backbone.depth=18",
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
    "evaluation.scale=[64,32]",
]
# More than one packet.
NUM_IMAGES = 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with weights, images in sub-folders, and a damaged one."""
    folder = tmp_path_factory.mktemp("beam_predict")
    save_weights(
        build_model(load_config(CITYSCAPES, SETTINGS)), folder / "w.weights.h5"
    )
    for index in range(NUM_IMAGES):
        path = folder / "images" / f"city{index % 3}" / f"image_{index:03d}.png"
        save_image(path, random_image(index))
    (folder / "images" / "city0" / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def local(folder):
    """The folder of the local predictions."""
    with pytest.raises(UserError, match="1 image"):
        call_script("predict", *words(folder, folder / "local"))
    return folder / "local"


def words(folder, out, *more, images="images"):
    model = ["--cfg", CITYSCAPES, "--weights", folder / "w.weights.h5"]
    settings = ["--set", *SETTINGS]
    return [*model, *settings, "--image", folder / images, "--out", out, *more]


def contents(folder):
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_an_engine_writes_the_files_of_the_local_prediction(
    engine, folder, local, tmp_path
):
    command = [sys.executable, SCRIPT, *words(folder, tmp_path, *engine)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert f"Wrote {NUM_IMAGES} prediction(s)" in ended.stdout
    assert "Error: 1 image(s) could not be segmented" in ended.stderr
    found = contents(tmp_path)
    lines = [json.loads(text) for text in found.pop("predictions.jsonl").splitlines()]
    assert found == contents(local)
    names = [line["image"] for line in lines]
    assert names == sorted(names) and len(names) == NUM_IMAGES + 1
    failed = [line for line in lines if "error" in line]
    assert [line["image"] for line in failed] == ["city0/damaged.png"]
    assert "as an image" in failed[0]["error"]
    whole = next(line for line in lines if "error" not in line)
    assert all((tmp_path / file).is_file() for file in whole["files"])
    height, width = whole["size"]
    assert sum(whole["pixels"].values()) == height * width


def test_a_second_run_does_what_is_missing(direct, folder, tmp_path, capsys):
    with pytest.raises(UserError):
        call_script("predict", *words(folder, tmp_path, *direct))
    before = contents(tmp_path)
    gone = tmp_path / "city1" / "image_001.png"
    gone.unlink()
    capsys.readouterr()
    with pytest.raises(UserError):
        call_script("predict", *words(folder, tmp_path, *direct))
    text = f"Wrote 1 prediction(s) to {tmp_path}; {NUM_IMAGES - 1} were there already"
    assert text in capsys.readouterr().out
    assert contents(tmp_path) == before


def test_formats_of_servers_have_no_overlays(direct, folder, tmp_path):
    (folder / "one").mkdir()
    save_image(folder / "one" / "a.png", random_image(0))
    arguments = words(folder, tmp_path, *direct, "--format", "cityscapes", images="one")
    call_script("predict", *arguments)
    assert contents(tmp_path).keys() == {"a.png", "predictions.jsonl"}
    line = json.loads((tmp_path / "predictions.jsonl").read_text())
    assert line == {"image": "a.png", "files": ["a.png"], "size": [24, 32]}


@pytest.mark.parametrize("names", ["a.png a.jpg", "a.png a_overlay.png"])
def test_two_images_of_one_prediction_are_refused(direct, folder, tmp_path, names):
    for name in names.split():
        save_image(tmp_path / "images" / name, random_image(0))
    arguments = words(folder, tmp_path / "out", *direct, images=tmp_path / "images")
    with pytest.raises(UserError, match="would share a file; rename one"):
        call_script("predict", *arguments)


def test_an_image_is_never_replaced(direct, folder, tmp_path):
    image = save_image(tmp_path / "images" / "a.png", random_image(0))
    before = image.read_bytes()
    arguments = words(folder, image.parent, *direct, images=image.parent)
    with pytest.raises(UserError, match="1 image.* would replace an image"):
        call_script("predict", *arguments)
    assert image.read_bytes() == before


@pytest.mark.parametrize("more", [["--zip", "a.zip"], []])
def test_an_engine_takes_folders_of_images(direct, folder, tmp_path, more):
    arguments = words(folder, tmp_path, *direct, *more, images="nothing")
    message = "leave out --video and --zip" if more else "There is no image file"
    with pytest.raises(UserError, match=message):
        call_script("predict", *arguments)
