"""Broken exports of labelme, YOLO, Roboflow and Supervisely: one sentence each."""

import json

import export_trees as trees
import numpy as np
import pytest

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.recognise import recognise
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.sources.exports.contents import below
from gcnet_tf.data.sources.exports.table import read_contents
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.errors import UserError


@pytest.mark.parametrize(
    "make, file",
    [
        (trees.make_coco, "annotations/instances_default.json"),
        (trees.make_labelme_json, "first.json"),
        (trees.make_made("label_studio", "i"), "tasks.json"),
        (trees.make_made("supervisely", "set/img"), "meta.json"),
        (trees.make_made("supervisely", "set/img"), "set/ann/first.jpg.json"),
    ],
)
def test_json_that_is_cut_short(tmp_path, make, file):
    root = make(tmp_path / "export")
    dataset = recognise(root).dataset
    path = root / file
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match=f"Cannot read .*{path.name} as JSON"):
        read_contents(dataset, root)


@pytest.mark.parametrize("content", ["[]", "3", '{"shapes": []}', "[[]]", '{"a": {}}'])
@pytest.mark.parametrize("dataset", ["coco", "labelme_json", "label_studio"])
def test_other_json_is_not_an_export(tmp_path, dataset, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match="has (no|neither)"):
        read_contents(dataset, tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"imagePath": "../../etc/passwd"}, "outside .*; allowed are files below"),
        ({"imagePath": "/etc/passwd"}, "outside .*; allowed are files below"),
        ({"imagePath": "second.jpg"}, r"first\.json and .*second\.json are both for"),
        ({"shapes": [{"points": []}]}, "shape without a label"),
        ({"shapes": None}, "shape without a label"),
    ],
)
def test_labelme_that_cannot_be(tmp_path, change, message):
    trees.make_labelme_json(tmp_path)
    trees.write_json(tmp_path / "first.json", trees.labelme_content("first", **change))
    with pytest.raises(UserError, match=message):
        read_contents("labelme_json", tmp_path)


def test_labelme_files_in_a_folder_of_their_own(tmp_path):
    for scene in trees.SCENES:
        trees.save_scene(tmp_path / "photos" / f"{scene}.jpg", scene)
        content = trees.labelme_content(scene, imagePath=f"..\\photos\\{scene}.jpg")
        trees.write_json(tmp_path / "json" / f"{scene}.json", content)
    part = read_contents("labelme_json", tmp_path).parts[""]
    for pair in part.pairs:
        assert np.array_equal(pair.label.ids(), trees.truth(pair.name.split("/")[1]))


@pytest.mark.filterwarnings("ignore:.*which cover no area:UserWarning")
def test_labels_of_labelme(tmp_path):
    """labels.txt gives the order; lines are counted; __ignore__ is 255."""
    trees.make_labelme_json(tmp_path)
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    content = trees.labelme_content("first")
    content["shapes"][0]["label"] = "__ignore__"
    line = {"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "line"}
    content["shapes"].append(line)
    trees.write_json(tmp_path / "first.json", content)
    contents = read_contents("labelme_json", tmp_path)
    assert contents.names == ("_background_", "__ignore__", "dog", "cat")
    assert "holds 1 line, which cover no area" in contents.parts[""].notes[0]
    found = recognise(tmp_path)
    assert found.classes == ("_background_", "dog", "cat")
    settings = {"dataset": "labelme_json", "root": str(tmp_path), "records": "r"}
    data = config_from_dict({"data": {**settings, "classes": list(found.classes)}}).data
    pairs = [*find_samples(data, "train"), *find_samples(data, "val")]
    labels = {pair.name: read_label(pair.label, pair.facts) for pair in pairs}
    assert labels["first"][5, 6] == 255 and labels["first"][15, 30] == 1
    (tmp_path / "labels.txt").write_text("dog\n")
    with pytest.raises(UserError, match=r"labels\.txt lacks labels .*: cat"):
        read_contents("labelme_json", tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("0 0.5 0.5 0.2 0.2\n", r"holds 2 boxes, no polygons"),
        ("7 0 0 1 0 1 1\n", "has the class 7, but .*data.yaml names only .* 0 to 1"),
        ("0 0 0 1 0 1\n", r'first\.txt, line 1: received "0 0 0 1 0 1"; allowed'),
        ("cat 0 0 1 0 1 1\n", "line 1: received"),
        ("0.5 0 0 1 0 1 1\n", "line 1: received"),
        ("-1 0 0 1 0 1 1\n", "line 1: received"),
        ("0 0 0 nan 0 1 1\n", "line 1: received"),
    ],
)
def test_yolo_that_cannot_be(tmp_path, text, message):
    trees.make_yolo(tmp_path)
    for scene, split in (("first", "train"), ("second", "val")):
        (tmp_path / "labels" / split / f"{scene}.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_contents("yolo", tmp_path)


def test_files_of_yolo_that_are_missing(tmp_path):
    trees.make_yolo(tmp_path)
    (tmp_path / "images" / "train" / "first.jpg").rename(tmp_path / "gone.jpg")
    with pytest.raises(
        UserError, match=r"1 label is in .*without an image .*first\.txt"
    ):
        read_contents("yolo", tmp_path)
    for text in ("names: 3", "names: [", "nothing: here", "names: {1: cat}"):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(UserError, match="data.yaml has no list of names"):
            read_contents("yolo", tmp_path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "cannot be understood"),
        ("Pixel Value, Class\nx, cat\n", "cannot be understood"),
        ("Pixel Value, Class\n0\n", "cannot be understood"),
        ("Pixel Value, Class\n300, cat\n", "cannot be understood"),
        ("Pixel Value, Class\n0, cat\n1, cat\n", "two values of the same name"),
        ("Pixel Value, Class\n0, cat\n1, dog\n", "calls the value 0 .*, but another"),
    ],
)
def test_names_of_roboflow_that_cannot_be(tmp_path, text, message):
    trees.make_roboflow_masks(tmp_path)
    (tmp_path / "train" / "_classes.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_contents("roboflow", tmp_path)


def test_an_object_of_an_unknown_class(tmp_path):
    root = trees.make_made("supervisely", "set/img")(tmp_path / "p")
    meta = json.loads((root / "meta.json").read_text())
    meta["classes"] = meta["classes"][:1]
    trees.write_json(root / "meta.json", meta)
    with pytest.raises(
        UserError, match="has objects of dog, but .*meta.json names cat"
    ):
        read_contents("supervisely", root)


@pytest.mark.parametrize(
    "name, right",
    [
        ("a.jpg", "set/a.jpg"),
        ("../b/a.jpg", "b/a.jpg"),
        ("..\\b\\a.jpg", "b/a.jpg"),
        ("./x/../a.jpg", "set/a.jpg"),
    ],
)
def test_names_below_the_root(tmp_path, name, right):
    assert below(tmp_path, tmp_path / "set", name) == tmp_path / right
