"""The command `report` on exported files and runs, beside the command `evaluate`."""

import json
import shutil

import keras
import numpy as np
import pytest
from exported_files import LABELS, write_onnx, write_tflite
from page_reader import Page
from PIL import Image

from gcnet_tf.commands import evaluate, report
from gcnet_tf.config import config_to_dict
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training.monitor.run_folder import open_run
from gcnet_tf.weights.files import BEST_WEIGHTS, save_weights

pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config()


@pytest.fixture(scope="module")
def settings(config):
    """Returns settings by which an exported file is evaluated on the tiny records."""
    return [
        f"data.records={config.data.records}",
        f"data.root={config.data.root}",
        "evaluation.scale=[32,32]",
    ]


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory, settings):
    return write_onnx(tmp_path_factory.mktemp("onnx"), settings=settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory, config):
    """Returns a run in the middle of its training: two of four iterations."""
    run = tmp_path_factory.mktemp("runs") / "half"
    keras.utils.set_random_seed(0)
    model = build_model(config)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    open_run(run, config)
    save_weights(model, run / BEST_WEIGHTS, 0.25)
    scores = {"mIoU": 0.25, "classes": {"circle": {"IoU": 0.125, "Acc": 0.5}}}
    lines = [
        {"kind": "train", "iteration": 1, "loss": 2.0, "learning_rate": 0.1},
        {"kind": "train", "iteration": 2, "loss": 1.0, "learning_rate": 0.05},
        {"kind": "val", "iteration": 2, **scores},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"kind": "tr'
    (run / "metrics.jsonl").write_text(text)
    return run


def page_of(folder, *arguments):
    out = folder / "page.html"
    assert report.main([*map(str, arguments), "--out", str(out)]) == 0
    return Page(out.read_text(encoding="utf-8")).check()


def scores_of(folder, model):
    path = folder / "scores.json"
    assert evaluate.main(["--model", str(model), "--json", str(path)]) == 0
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["run", "onnx_file"])
def test_each_number_is_that_of_evaluate(kind, request, tmp_path):
    model = request.getfixturevalue(kind)
    scores = scores_of(tmp_path, model)
    page = page_of(tmp_path, "--model", model)
    numbers = page.numbers
    assert numbers["miou"] == [scores["mIoU"]]
    assert numbers["macc"] == [scores["mAcc"]]
    assert numbers["aacc"] == [scores["aAcc"]]
    for name, key in (("iou", "IoU"), ("acc", "Acc")):
        values = [row[key] for row in scores["classes"].values()]
        assert sorted(numbers[name]) == sorted(v for v in values if v is not None)
    assert 0 <= numbers["ece"][0] <= 1


def test_a_run_in_training_shows_curves_images_and_attention(run, tmp_path):
    page = page_of(tmp_path, "--model", run)
    assert "at iteration 2 of 4 (still training, or stopped)" in page.text
    titles = [v["alt"] for tag, v in page.elements if tag == "img"]
    for words in ("The image", "Truth", "Prediction", "Wrong pixels", "Attention"):
        assert sum(alt.startswith(words) for alt in titles) == 3
    # The sheet, of all training images.
    assert sum(alt.startswith("Training image") for alt in titles) == 6
    charts = [v["aria-label"] for tag, v in page.elements if tag == "svg"]
    assert any("half ends at 25" in label for label in charts)
    assert len(charts) == 5  # loss, mIoU, learning rate, reliability, sizes


def test_models_side_by_side_share_a_page(run, onnx_file, tmp_path):
    page = page_of(tmp_path, "--model", run, onnx_file)
    both = [scores_of(tmp_path, model)["mIoU"] for model in (run, onnx_file)]
    assert page.numbers["miou"] == both
    assert "half and model.onnx" in page.text
    # The exported file is not the first model, whose exports a page lists.
    assert "Exported files" not in page.text


def test_exported_files_have_size_speed_and_what_they_kept(onnx_file, tmp_path):
    folder = tmp_path / "exports"
    shutil.copytree(onnx_file.parent, folder)
    manifest = folder / "model.onnx.json"
    fields = json.loads(manifest.read_text())
    fields["accuracy"] = {"agreement": 0.987, "miou": 0.5, "keras_miou": 0.625}
    manifest.write_text(json.dumps(fields))
    (folder / "broken.tflite").write_bytes(b"nothing")
    page = page_of(tmp_path, "--model", folder / "model.onnx")
    assert "98.70" in page.text and "12.50" in page.text
    assert "broken.tflite has no manifest" in page.text


def test_without_records_the_page_is_shorter(run, onnx_file, tmp_path, capsys):
    nowhere = ["--set", f"data.records={tmp_path / 'nowhere'}"]
    page = page_of(tmp_path, "--model", run, *nowhere)
    assert "Nothing was evaluated. There are no records" in page.text
    assert "As training recorded it at iteration 2" in page.text
    assert page.numbers["iou"] == [0.125]
    page = page_of(tmp_path, "--model", onnx_file, *nowhere)
    assert "Exported files" in page.text and "Classes" not in page.text
    assert not (tmp_path / "nowhere").exists()


def test_a_file_of_labels_alone_has_no_calibration(settings, tmp_path):
    model = write_tflite(tmp_path, LABELS, (32, 32), settings)
    page = page_of(tmp_path, "--model", model)
    assert page.numbers["miou"] == [scores_of(tmp_path, model)["mIoU"]]
    assert "Reliability" not in page.text and "ece" not in page.numbers
    assert "Errors by the size of objects" in page.text


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name, size in (("a.png", (20, 30)), ("<b>.jpg", (70, 41)), ("c.png", (1, 1))):
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


def test_photos_without_a_truth(photos, run, onnx_file, tmp_path):
    page = page_of(tmp_path, "--model", run, onnx_file, "--image", photos)
    assert "Predictions of 3 images without a truth" in page.text
    assert "broken.jpg" in page.text and "<b>.jpg" in page.text
    assert "miou" not in page.numbers and "mean probability" in page.text


def test_photos_and_labels_alone(photos, settings, tmp_path):
    """A file of labels takes images of its own size alone; the others are named."""
    model = write_tflite(tmp_path, LABELS, (32, 32), settings)
    with pytest.raises(UserError, match="no image can be segmented"):
        page_of(tmp_path, "--model", model, "--image", photos)
    Image.new("RGB", (32, 32)).save(photos / "fits.png")
    page = page_of(tmp_path, "--model", model, "--image", photos)
    assert "Spread over the images: 1" in page.text
    assert "a.png: This model gives labels only" in page.text


def test_damaged_records_are_passed_over_where_evaluate_does(
    onnx_file, config, tmp_path
):
    records = tmp_path / "records"
    shutil.copytree(config.data.records, records)
    shard = records / "val" / read_manifest(records, "val").shards[0].file
    content = bytearray(shard.read_bytes())
    content[200] ^= 1  # inside the first image
    shard.write_bytes(content)
    skipping = ["--set", f"data.records={records}", "data.on_error=skip"]
    with pytest.warns(UserWarning, match="1 damaged sample"):
        page = page_of(tmp_path, "--model", onnx_file, *skipping)
    titles = [v["alt"] for tag, v in page.elements if tag == "img"]
    assert sum(alt.startswith("The image") for alt in titles) == 2
    with pytest.warns(UserWarning), pytest.raises(UserError, match="damaged sample"):
        page_of(tmp_path, "--model", onnx_file, "--set", f"data.records={records}")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--out", "page.txt"], "must end in .html"),
        (["--out", "page.html", "--image", "nowhere"], "no image file or folder"),
        (["--out", "page.html", "--exports", "nowhere"], "no exported file in nowhere"),
    ],
)
def test_wrong_arguments_get_a_sentence(
    arguments, words, onnx_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        report.main(["--model", str(onnx_file), *arguments])
    assert not (tmp_path / "page.html").exists()


def test_models_must_fit_together(onnx_file, run, tiny_config, tmp_path):
    out = ["--out", str(tmp_path / "page.html")]
    with pytest.raises(UserError, match="name each model once"):
        report.main(["--model", str(run), str(run), *out])
    other = tmp_path / "other" / "model.onnx"
    shutil.copytree(onnx_file.parent, other.parent)
    manifest = other.with_name("model.onnx.json")
    fields = json.loads(manifest.read_text())
    data = {"dataset": "folder", "classes": [f"c{i}" for i in range(6)]}
    fields["config"] = config_to_dict(tiny_config())
    fields["config"]["data"] = {**fields["config"]["data"], **data}
    fields["classes"] = data["classes"]
    manifest.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="Models side by side have the same classes"):
        report.main(["--model", str(run), str(other), *out])
