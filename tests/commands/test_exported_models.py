"""scripts/predict.py and scripts/evaluate.py with exported files."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from exported_files import SIZE, logits, write_onnx, write_tflite
from helpers import call_script, random_image, save_image
from PIL import Image

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.runtime.manifest import LABELS

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# A size that the protocol's scale does not change.
HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    return write_onnx(tmp_path_factory.mktemp("onnx"))


@pytest.fixture
def predict(onnx, tmp_path):
    """A function that segments a file of the folder `images`; returns the labels."""

    def predicted(image, *arguments):
        out = tmp_path / "out"
        model = ["--model", onnx]
        call_script("predict", *model, "--image", image, "--out", out, *arguments)
        return np.asarray(Image.open(out / f"{image.stem}.png"))

    return predicted


def test_predict_starts_without_tensorflow(onnx, tmp_path):
    image = save_image(tmp_path / "photo.png", random_image(0, HEIGHT, WIDTH))
    code = (
        "import runpy, sys; script = sys.argv[1]; sys.argv = sys.argv[1:]; "
        "runpy.run_path(script)['main'](); "
        "print(*{'tensorflow', 'keras', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, SCRIPTS / "predict.py", "--model", onnx]
        + ["--image", image, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"Wrote 1 prediction(s) to {tmp_path / 'out'}\n\n"
    labels = np.asarray(Image.open(tmp_path / "out" / "photo.png"))
    np.testing.assert_array_equal(labels, logits(read_image(image)).argmax(-1))
    assert (tmp_path / "out" / "photo_overlay.png").is_file()


def test_predict_takes_modes_and_settings(predict, onnx, tmp_path):
    path = save_image(tmp_path / "images" / "photo.png", random_image(0, 60, 90))
    image = read_image(path)
    plain = predict(path)
    np.testing.assert_array_equal(plain, Predictor(onnx).labels(image))
    tiled = predict(path, "--mode", "tiled")
    np.testing.assert_array_equal(tiled, logits(image).argmax(-1))
    assert (tiled != plain).mean() > 0.05
    native = predict(path, "--set", "evaluation.scale=[90,60]")
    np.testing.assert_array_equal(native, tiled)


RGB = random_image(3, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "name, image, same_as",
    [
        ("grey.png", Image.fromarray(RGB[..., 0]), np.dstack([RGB[..., 0]] * 3)),
        ("alpha.png", Image.fromarray(np.dstack([RGB, RGB[..., 1]])), RGB),
        ("palette.png", Image.fromarray(RGB).convert("P"), None),
        ("cmyk.jpg", Image.fromarray(RGB).convert("CMYK"), None),
        ("pixel.png", Image.fromarray(RGB[:1, :1]), RGB[:1, :1]),
    ],
)
def test_image_files_of_any_kind_are_read_as_in_training(
    name, image, same_as, predict, onnx, tmp_path
):
    path = tmp_path / "images" / name
    path.parent.mkdir()
    image.save(path)
    expected = read_image(path) if same_as is None else same_as
    np.testing.assert_array_equal(predict(path), Predictor(onnx).labels(expected))


def test_files_that_are_no_images(predict, tmp_path):
    path = save_image(tmp_path / "images" / "photo.jpg", RGB)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="Cannot read .*photo.jpg as an image"):
        predict(path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="empty"):
        predict(empty)


def test_arguments_that_do_not_go_with_an_exported_file(predict, tmp_path):
    image = save_image(tmp_path / "images" / "photo.png", RGB)
    with pytest.raises(UserError, match="leave out cfg.*--set"):
        predict(image, "--cfg", "shapes_r18")
    with pytest.raises(UserError, match="leave out weights"):
        predict(image, "--weights", "x.weights.h5")
    with pytest.raises(UserError, match="finished model.*model"):
        predict(image, "--set", "model.align_corners=true")
    with pytest.raises(UserError, match="finished model.*classes"):
        predict(
            image,
            *("--set", "data.dataset=folder", "--set", 'data.classes=["a","b"]'),
        )
    with pytest.raises(UserError, match="evaluation.scales"):
        predict(image, "--set", "evaluation.scales=[1,2]")
    assert not (tmp_path / "out").exists()


def test_a_damaged_image_does_not_end_the_rest(onnx, tmp_path, capsys):
    for seed in range(3):
        save_image(tmp_path / "in" / f"p{seed}.png", random_image(seed, HEIGHT, WIDTH))
    damaged = tmp_path / "in" / "p1.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:700])
    out = tmp_path / "out"
    arguments = ["--model", onnx, "--image", damaged.parent, "--out", out]
    with pytest.raises(
        UserError, match=r"1 image\(s\) could not.*\n.*p1.png"
    ) as caught:
        call_script("predict", *arguments, "--zip", tmp_path / "ids.zip")
    assert str(caught.value).count("p1.png") == 1
    assert capsys.readouterr().out == f"Wrote 2 prediction(s) to {out}\n"
    assert not (tmp_path / "ids.zip").exists()

    damaged.write_bytes(whole)
    call_script("predict", *arguments, "--zip", tmp_path / "ids.zip")
    text = capsys.readouterr().out
    assert text.startswith(f"Wrote 1 prediction(s) to {out}; 2 were there already\n")
    with zipfile.ZipFile(tmp_path / "ids.zip") as packed:
        assert packed.namelist() == ["p0.png", "p1.png", "p2.png"]
    # Another mode is another model.
    call_script("predict", *arguments, "--mode", "tiled")
    assert capsys.readouterr().out == f"Wrote 3 prediction(s) to {out}\n"


def test_a_video(onnx, tmp_path, capsys):
    source = tmp_path / "drive.avi"
    codec = cv2.VideoWriter.fourcc(*"XVID")
    writer = cv2.VideoWriter(str(source), codec, 10.0, (WIDTH, HEIGHT))
    for _ in range(3):
        writer.write(RGB[..., ::-1])
    writer.release()
    arguments = ["--model", onnx, "--video", source, "--out", tmp_path / "out"]
    call_script("predict", *arguments)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "drive_overlay.mp4"
    assert capsys.readouterr().out == f"Wrote 3 frame(s) to {path}\n"
    with pytest.raises(UserError, match="leave out --format and --zip"):
        call_script("predict", *arguments, "--zip", tmp_path / "x.zip")


def test_evaluate(tiny_config, tmp_path, capsys):
    """The records are those of --set, the classes those of the file."""
    tiny = tiny_config()
    settings = ["--set", f"data.records={tiny.data.records}"]
    settings += ["--set", f"data.root={tiny.data.root}"]
    results = tmp_path / "results.json"
    path = write_tflite(tmp_path, size=(32, 32))
    arguments = ["--model", path, *settings, "--json", results]
    call_script("evaluate", *arguments)
    assert "background" in capsys.readouterr().out

    matrix = ConfusionMatrix(6)
    for image in sorted((Path(tiny.data.root) / "val" / "images").iterdir()):
        truth = np.asarray(Image.open(image.parents[1] / "labels" / image.name))
        matrix.update(truth, logits(read_image(image)).argmax(-1).astype(np.uint8))
    expected = matrix.metrics().miou
    assert json.loads(results.read_text())["mIoU"] == pytest.approx(expected, abs=1e-4)
    assert expected > 0


def test_evaluate_with_labels_that_would_have_to_be_resized(tiny_config, tmp_path):
    tiny = tiny_config()
    # The root as well: data/shapes may be there, and of other images.
    folders = [f"data.root={tiny.data.root}", f"data.records={tiny.data.records}"]
    settings = ["--set", *folders]
    path = write_tflite(tmp_path, LABELS, SIZE)
    with pytest.raises(UserError, match="labels only"):
        call_script("evaluate", "--model", path, *settings)
