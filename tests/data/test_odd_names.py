"""Data sets whose files have names of any bytes, or accents in two forms."""

import json
import os
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import pytest
import tensorflow as tf
from helpers import (
    CLASSES,
    call_script,
    exit_code,
    make_folder_tree,
    make_voc_tree,
    random_image,
    random_label,
    save_image,
)

from gcnet_tf.config import load_config
from gcnet_tf.data.records.damage import name_of
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.data.sources.listing import listed_pairs
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation import predictions, submission
from gcnet_tf.visualize.video import check_video

BAD = os.fsdecode(b"t\xe9 it's ")  # é in Latin-1
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The configuration of a data set whose files have names that are not UTF-8."""
    folder = tmp_path_factory.mktemp("odd")
    root = make_folder_tree(folder / "my data")
    for path in sorted(root.glob("*/*/*.*")):
        path.rename(path.with_name(BAD + path.name))
    data = {"dataset": "folder", "root": str(root), "classes": list(CLASSES)}
    path = folder / f"{BAD}.json"
    path.write_text(json.dumps({"data": {**data, "records": str(folder / "records")}}))
    return path


def test_conversion_keeps_the_bytes_of_names(config):
    call_script("make_tfrecords", "--cfg", config)
    folder = Path(load_config(config).data.records) / "train"
    shards = [
        folder / shard.file for shard in read_manifest(folder.parent, "train").shards
    ]
    names = [
        name_of(record)
        for shard in shards
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()
    ]
    assert sorted(names) == [f"{BAD}train_00{index}" for index in range(3)]


def test_the_check_writes_and_prints_them(config, tmp_path):
    """A terminal in UTF-8 is strict, unlike that of the C locale."""
    label = sorted(Path(load_config(config).data.root).glob("val/labels/*"))[0]
    before = label.read_bytes()
    save_image(label, random_label(0, num_classes=9))
    found, sheet = tmp_path / f"{BAD}.json", tmp_path / f"{BAD}.png"
    words = ["--cfg", str(config), "--json", str(found), "--sheet", str(sheet)]
    command = [sys.executable, "-m", "gcnet_tf", "check_data", *words]
    result = subprocess.run(
        command,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        text=True,
    )
    label.write_bytes(before)
    assert result.returncode == 2 and result.stderr == ""
    assert "t\\udce9 it's val_000" in result.stdout
    assert "t\\udce9 it's val_000" in json.dumps(json.loads(found.read_text()))
    assert sheet.is_file()


def test_a_configuration_of_such_a_name_is_refused(config, tmp_path, capsys):
    root = make_folder_tree(tmp_path / BAD, 1, 1)
    out = tmp_path / "c.json"
    assert exit_code("make_config", root, "--out", out) == 2
    error = capsys.readouterr().err
    assert "bytes that are not UTF-8" in error and "ln -s" in error
    assert not out.exists()
    with pytest.raises(UserError, match="configuration: the name .* not UTF-8"):
        load_config(config, [f"data.root={root}"])
    with pytest.raises(UserError, match="configuration: the name .* not UTF-8"):
        load_config(config, [f"data.also=[{{dataset: folder, root: '{BAD}'}}]"])


def test_places_that_tensorflow_cannot_open_are_refused(config, tmp_path, capsys):
    place = tmp_path / BAD
    images = Path(load_config(config).data.root) / "val" / "images"
    for words in (
        ("train", "--cfg", config, "--out", place),
        ("export", "--model", config.parent, "--out", place),
        ("predict", "--model", f"{place}.onnx", "--image", images, "--out", tmp_path),
    ):
        assert exit_code(*words) == 2
        assert "bytes that are not UTF-8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="--video: the name"):
        check_video(BAD, tmp_path)
    with pytest.raises(UserError, match="--zip: the name"):
        submission.check_zip(tmp_path / "a.zip", [place / f"{BAD}.png"])


def test_predictions_are_planned_under_their_names(config, tmp_path):
    images = Path(load_config(config).data.root) / "val" / "images"
    tasks = predictions.plan(images, tmp_path, "ids")
    assert tasks[0].ids == tmp_path / f"{BAD}val_000.png"


def renamed(root: Path, kind: str, name: str) -> None:
    for path in root.glob(f"train/{kind}/*"):
        path.rename(path.with_name(path.name.replace("train_", name)))


@pytest.mark.parametrize("forms", [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_both_forms_of_an_accent_are_one_name(forms, tmp_path):
    """An image from Windows and the label that macOS wrote."""
    root = make_folder_tree(tmp_path)
    for kind, form in zip(("images", "labels"), forms, strict=True):
        renamed(root, kind, form)
    pairs = find_pairs("folder", root, "train")
    assert [pair.name for pair in pairs] == [f"{COMPOSED}00{i}" for i in range(3)]
    for pair in pairs:
        assert pair.image.is_file() and pair.label.is_file()
        assert (pair.image.stem, pair.label.stem) == tuple(
            form + pair.name[-3:] for form in forms
        )


def test_two_files_whose_accents_differ_in_form_are_refused(tmp_path):
    root = make_folder_tree(tmp_path)
    for form in (COMPOSED, DECOMPOSED):
        save_image(root / "train" / "images" / f"{form}.png", random_image(7))
    with pytest.raises(UserError, match="only in the form of their accents") as error:
        find_pairs("folder", root, "train")
    text = str(error.value)
    assert text.count("(composed)") == text.count("(decomposed)") == 1


def test_lists_name_files_in_either_form_and_of_any_bytes(tmp_path):
    root = make_voc_tree(tmp_path / "voc", 1, 0, 2)
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    names = [DECOMPOSED, BAD.strip()]
    for old, name in zip(("2007_200000", "2007_200001"), names, strict=True):
        (images / f"{old}.jpg").rename(images / f"{name}.jpg")
        (masks / f"{old}.png").rename(masks / f"{name}.png")
    list_ = root / "ImageSets" / "Segmentation" / "val.txt"
    list_.write_bytes(COMPOSED.encode() + b"\n" + os.fsencode(BAD.strip()) + b"\n")
    pairs = find_pairs("voc12aug", root, "val")
    assert {pair.image.stem for pair in pairs} == set(names)
    assert all(pair.label.is_file() for pair in pairs)

    image_list, label_list = tmp_path / "i.txt", tmp_path / "l.txt"
    for file, folder, ending in (
        (image_list, "JPEGImages", "jpg"),
        (label_list, "SegmentationClass", "png"),
    ):
        lines = [f"voc/{folder}/{name}.{ending}" for name in (COMPOSED, BAD.strip())]
        file.write_bytes(b"\n".join(map(os.fsencode, lines)))
    listed = listed_pairs(image_list, label_list)
    assert [pair.image.stem for pair in listed] == names


def test_a_list_in_utf_16_is_named(tmp_path):
    root = make_voc_tree(tmp_path, 1, 0, 1)
    list_ = root / "ImageSets" / "Segmentation" / "val.txt"
    list_.write_text("2007_200000\n", encoding="utf-16-le")
    with warnings.catch_warnings(), pytest.raises(UserError, match="may be UTF-16"):
        find_pairs("voc12aug", root, "val")
