"""The model card: parsed as hubs do, with the numbers of the run and the files."""

import json
import re

import pytest
import yaml
from helpers import call_script

from gcnet_tf.export.card.text import plain
from gcnet_tf.models import build_model
from gcnet_tf.runtime.manifest import read_manifest
from gcnet_tf.training.monitor.run_folder import open_run
from gcnet_tf.weights.files import BEST_METRICS, BEST_WEIGHTS, save_weights

pytestmark = pytest.mark.usefixtures("shallow")

CLASSES = ("background", "circle", "square", "triangle", "cross", "star")


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory):
    """A run with metrics that no network of random weights would have."""
    run = tmp_path_factory.mktemp("runs") / "shapes"
    config = tiny_config()
    open_run(run, config)
    save_weights(build_model(config), run / BEST_WEIGHTS)
    ious = [0.9, 0.71, 0.62, 0.53, None, 0.84]
    metrics = {
        "iteration": 77,
        "mIoU": 0.7123,
        "mAcc": 0.8234,
        "aAcc": None,
        "classes": {n: {"IoU": i, "Acc": i} for n, i in zip(CLASSES, ious)},
    }
    (run / BEST_METRICS).write_text(json.dumps(metrics))
    return run


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "shapes_model"
    export(run, out, "--samples", 3)
    return out


def export(run, out, *options):
    arguments = ("--model", run, "--out", out, "--format", "onnx", *options)
    call_script("export", *arguments)


def parsed(card):
    """Returns the front matter as YAML, and the Markdown below it."""
    _, matter, text = card.read_text().split("---\n", 2)
    return yaml.safe_load(matter), text


def test_the_front_matter_is_what_hubs_want(exported):
    matter, _ = parsed(exported / "README.md")
    assert matter["library_name"] == "gcnet_tf"
    assert matter["pipeline_tag"] == "image-segmentation"
    assert matter["license"] == "unknown" and matter["datasets"] == ["shapes"]
    assert {"image-segmentation", "onnx"} <= set(matter["tags"])
    assert "tflite" not in matter["tags"]
    (index,) = matter["model-index"]
    (result,) = index["results"]
    assert index["name"] == "shapes_model"
    assert result["task"] == {"type": "image-segmentation"}
    assert result["dataset"] == {"name": "shapes", "type": "shapes", "split": "val"}
    # Pixel accuracy has no value in this run, so it has none here.
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("mean_iou", 0.7123),
        ("mean_accuracy", 0.8234),
    ]
    assert matter["metrics"] == ["mean_iou", "mean_accuracy"]


def test_hugging_face_takes_it(exported):
    hub = pytest.importorskip("huggingface_hub", reason="a parser to compare with")
    card = hub.ModelCard.load(exported / "README.md")
    assert card.data.pipeline_tag == "image-segmentation"
    assert [(r.metric_type, r.metric_value) for r in card.data.eval_results] == [
        ("mean_iou", 0.7123),
        ("mean_accuracy", 0.8234),
    ]
    assert card.data.eval_results[0].dataset_split == "val"


def test_every_number_is_one_that_was_measured(exported):
    _, text = parsed(exported / "README.md")
    accuracy = read_manifest(exported / "model_fp32.onnx").accuracy
    assert f"over {accuracy['images']} images of `val`" in text
    row = next(line for line in text.splitlines() if line.startswith("| `model_fp32"))
    assert f"{accuracy['miou']:.4f} | {accuracy['keras_miou']:.4f}" in row
    assert f"{accuracy['agreement']:.3%}" in row
    for name, iou in (("circle", "0.7100"), ("cross", "")):
        assert re.search(rf"\| {name} \| `#[0-9a-f]{{6}}` \| {iou} \|", text)
    assert "triangle (0.5300), square (0.6200), circle (0.7100)" in text
    assert "never measured: cross." in text
    assert "6 images of train, 3 images of val" in text and "iteration 77" in text
    assert "| 0.7123 | 0.8234 |" in text
    assert 'gcnet_tf.load("model_fp32.onnx")' in text


def test_without_a_run_and_a_check_nothing_is_claimed(run, tmp_path):
    weights = ("--weights", run / BEST_WEIGHTS, "--cfg", run / "config.json")
    options = ("--format", "onnx", "--precision", "fp32", "--samples", 0)
    nowhere = ("--set", "data.records=nowhere")
    call_script("export", *weights, "--out", tmp_path / "e", *options, *nowhere)
    matter, text = parsed(tmp_path / "e" / "README.md")
    assert "model-index" not in matter and "metrics" not in matter
    assert "No metrics of a whole validation set are known" in text
    assert "accuracy beside the trained model was not measured" in text
    assert "the number of images is not here" in text


def test_a_readme_of_the_user_stays(run, exported, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "README.md").write_text("# My own words\n")
    export(run, out, "--samples", 0)
    assert (out / "README.md").read_text() == "# My own words\n"
    assert "README.md stays as it is" in capsys.readouterr().out
    # A card that somebody has changed is his, and an unchanged one is written anew.
    first = (exported / "README.md").read_text()
    changed = first.replace("license: unknown", "license: mit")
    (out / "README.md").write_text(changed)
    export(run, out, "--samples", 0)
    assert (out / "README.md").read_text() == changed
    (out / "README.md").write_text(first)
    export(run, out, "--samples", 0)
    assert "# mine\n" in (out / "README.md").read_text()


def test_names_of_classes_are_text():
    assert plain("<b>|x`\n# [a](b)") == r"\<b\>\|x\` \# \[a\](b)"
