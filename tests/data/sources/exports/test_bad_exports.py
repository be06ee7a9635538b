"""Exports that are broken, incomplete, or of another kind than needed: one sentence."""

import json
import re
import shutil

import export_trees as trees
import numpy as np
import pytest
from annotation_trees import make_cvat
from helpers import exit_code, random_image, save_image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.check.recognise import recognise
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.sources.exports.coco import read_coco
from gcnet_tf.data.sources.exports.table import read_contents
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.errors import UserError

COCO_FILE = "annotations/instances_default.json"


def coco(root, change):
    """Writes a COCO export after a change of its JSON."""
    trees.make_coco(root)
    content = trees.coco_content()
    change(content)
    trees.write_json(root / COCO_FILE, content)
    return root


def data_of(root, dataset="coco", **settings):
    data = {"dataset": dataset, "root": str(root), "records": str(root / "records")}
    classes = ["background", *trees.NAMES]
    return config_from_dict({"data": {**data, "classes": classes, **settings}})


def each(key, value):
    def change(content):
        for annotation in content["annotations"]:
            annotation[key] = value

    return change


def first(items, **values):
    return lambda content: content[items][0].update(values)


def without_size(content):
    for image in content["images"]:
        image.update(width=0, height=None)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda c: c["images"].append(c["images"][0]),
            "images more than once, by .* id",
        ),
        (first("images", file_name="second.jpg"), "more than once, by their file_name"),
        (first("images", file_name="gone.jpg"), r"1 image is named .*: gone\.jpg"),
        (first("images", file_name="../../etc/x.jpg"), "outside .*; allowed are files"),
        (first("images", file_name="../../../x.jpg"), "outside .*; allowed are files"),
        (first("images", file_name="/etc/x.jpg"), "outside .*; allowed are files"),
        (first("images", file_name="C:\\x.jpg"), "outside .*; allowed are files"),
        (first("annotations", image_id=99), "annotations of 1 image that it.* 99"),
        (
            first("annotations", category_id=5),
            "has the category 5; the file has (9, 4|4, 9)",
        ),
        (each("segmentation", []), "holds 5 boxes, no polygons and no masks"),
        (each("segmentation", None), "holds 5 boxes, no polygons and no masks"),
        (lambda c: c["images"][0].pop("id"), "not as COCO describes it: KeyError 'id'"),
        (lambda c: c["annotations"][0].pop("image_id"), "not as COCO .*'image_id'"),
        (lambda c: c["categories"][0].pop("name"), "category or an annotation without"),
        (lambda c: c.update(images=3), "not as COCO describes it: TypeError"),
        (lambda c: c.update(images=[3]), "not as COCO describes it"),
        (lambda c: c.update(categories=[]), "has the category"),
    ],
)
def test_coco_that_cannot_be(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read_coco(coco(tmp_path, change))


def test_keypoints_are_no_masks(tmp_path):
    def change(content):
        for annotation in content["annotations"]:
            del annotation["segmentation"]
            annotation["keypoints"] = [1, 2, 2]

    with pytest.raises(UserError, match="holds 5 sets? of keypoints"):
        read_coco(coco(tmp_path, change))


@pytest.mark.parametrize(
    "segmentation, message",
    [
        (
            {"size": [1, 2400], "counts": [0, 2400]},
            "annotation 1: run lengths of 2400x1",
        ),
        ({"size": [40, 60], "counts": [0, 24]}, "run lengths of 24 pixels"),
        ({"size": [40, 60]}, "annotation 1: 'counts'"),
        ({"counts": 3}, "annotation 1: 'size'"),
        ([[1, 2, 3, 4, 5]], "pairs of numbers x, y"),
        ([["a", 2, 3, 4, 5, 6]], "could not convert"),
        ([[1, 1, 1e12, 1, 5, 5]], "far outside"),
        ([5, 5, 9, 9, 5, 9], "pairs of numbers"),
    ],
)
def test_a_shape_that_cannot_be_drawn_is_a_finding(tmp_path, segmentation, message):
    root = coco(tmp_path, first("annotations", segmentation=segmentation))
    report = check_data(data_of(root), progress=False)
    (item,) = report.findings["unreadable_label"]
    assert re.search(message, item.detail), item.detail
    assert "(for first.jpg)" in item.detail


def test_another_size_is_a_finding(tmp_path):
    root = coco(tmp_path, first("images", width=120, height=80))
    report = check_data(data_of(root), progress=False)
    (item,) = report.findings["unreadable_label"]
    assert "states the size 120x80" in item.detail and "60x40" in item.detail


def test_no_stated_size_is_fine(tmp_path):
    root = coco(tmp_path, without_size)
    (pair,) = find_samples(data_of(root).data, "train")
    assert read_label(pair.label, pair.facts).shape == trees.SIZE


def test_some_boxes_are_counted(tmp_path):
    root = coco(tmp_path, first("annotations", segmentation=[]))
    report = check_data(data_of(root), progress=False)
    text = str(report.findings["source"][0])
    assert "holds 1 box without a polygon or mask" in text and "passed over" in text


def test_crowds_are_below_the_objects(tmp_path):
    """A crowd at the end of the file, over everything."""
    whole = {"size": list(trees.SIZE), "counts": [0, 2400]}

    def change(content):
        crowd = {**content["annotations"][0], "iscrowd": 1, "segmentation": whole}
        content["annotations"].append({**crowd, "id": 50, "category_id": 9})

    read = read_coco(coco(tmp_path, change))
    labels = {pair.name: pair.label.ids() for pair in read.parts[""].pairs}
    expected = trees.truth("first")
    expected[expected == 0] = 2
    assert np.array_equal(labels["first"], expected)


def test_an_unlabelled_pixel_can_be_ignored(tmp_path):
    root = trees.make_coco(tmp_path)
    data = data_of(root, classes=["dog", "cat"], label_map=[[0, 255]]).data
    (pair,) = find_samples(data, "train")
    scene = trees.truth("first" if "first" in pair.name else "second")
    expected = np.array([255, 1, 0], np.uint8)[scene]
    assert np.array_equal(read_label(pair.label, pair.facts), expected)


def test_classes_that_do_not_fit_name_the_line(tmp_path):
    root = trees.make_coco(tmp_path)
    with pytest.raises(UserError, match=r'"classes": \["background", "cat", "dog"\]'):
        find_samples(data_of(root, classes=["cat", "dog"]).data, "train")


def test_a_changed_annotation_is_converted_again(tmp_path):
    root = trees.make_coco(tmp_path / "export")
    config = data_of(root, records=str(tmp_path / "records"))
    ensure_records(config)
    content = trees.coco_content()
    content["annotations"].pop()
    trees.write_json(root / COCO_FILE, content)
    with pytest.warns(UserWarning, match="not those .* converted again"):
        ensure_records(config)


def test_images_without_a_shape_are_left_out_or_background(tmp_path):
    root = trees.make_coco(tmp_path / "export")
    content = trees.coco_content()
    for number in range(3):
        name = f"empty{number}.jpg"
        save_image(root / "images" / name, random_image(number, *trees.SIZE))
        image = {**content["images"][0], "id": 90 + number, "file_name": name}
        content["images"].append(image)
    trees.write_json(root / COCO_FILE, content)
    with pytest.warns(
        UserWarning, match="3 images without a single shape are left out"
    ):
        assert len(find_samples(data_of(root).data, "train")) == 1
    data = data_of(root, without_shapes="background").data
    with pytest.warns(UserWarning, match="3 images .* count as background: empty0"):
        pairs = [*find_samples(data, "train"), *find_samples(data, "val")]
    assert len(pairs) == 5
    empty = [pair for pair in pairs if "empty" in pair.name]
    assert all(not read_label(pair.label, pair.facts).any() for pair in empty)


def test_frames_of_cvat_without_a_mask(tmp_path, capsys):
    root = make_cvat(tmp_path / "export")
    for name in ("image_1", "image_3"):
        (root / "SegmentationClass" / f"{name}.png").unlink()
    out = tmp_path / "c.json"
    with pytest.warns(
        UserWarning, match="2 images without a single shape are left out"
    ):
        assert recognise(root).num_images == {"train": 2, "val": 1}
    with pytest.warns(UserWarning, match="2 images without a single shape"):
        assert exit_code("make_config", root, "--out", out) == 0
    settings = json.loads(out.read_text())["data"]
    settings["records"] = str(tmp_path / "records")
    config = config_from_dict({"data": settings})
    found = check_data(config, progress=False).findings
    assert set(found) <= {"source", "no_pixel", "large_crop"}
    assert "2 images without a single shape are left out" in str(found["source"][0])
    config = config_from_dict({"data": {**settings, "without_shapes": "background"}})
    with pytest.warns(UserWarning, match="2 images .* count as background"):
        pairs = find_samples(config.data, "train") + find_samples(config.data, "val")
    assert len(pairs) == 5
    (empty,) = [pair for pair in pairs if pair.name == "image_3"]
    assert not read_label(empty.label, empty.facts).any()


def test_an_export_without_any_shape(tmp_path):
    root = coco(tmp_path, lambda content: content.update(annotations=[]))
    with pytest.raises(UserError, match="No image .* has a shape.*without_shapes=back"):
        find_samples(data_of(root).data, "train")


def test_a_split_that_an_export_does_not_have(tmp_path):
    root = trees.make_official_coco(tmp_path)
    with pytest.raises(UserError, match='no split "test"; allowed: train, val'):
        find_samples(data_of(root).data, "test")
    shutil.copytree(root / "train2017", root / "test2017")
    name = root / "annotations" / "instances_{}2017.json"
    shutil.copy(str(name).format("train"), str(name).format("test"))
    assert len(find_samples(data_of(root).data, "test")) == 1
    shutil.copy(str(name).format("train"), root / "annotations" / "instances_a.json")
    trees.save_scene(root / "first.jpg", "first")
    with pytest.raises(UserError, match="images that belong to none: first.jpg"):
        find_samples(data_of(root).data, "test")


def test_images_that_no_file_lists_are_counted(tmp_path):
    root = trees.make_coco(tmp_path / "coco")
    save_image(root / "images" / "new.png", random_image(1))
    with pytest.warns(UserWarning, match="1 image beside those that .* over: new.png"):
        find_samples(data_of(root).data, "train")
    for make, dataset in (
        (trees.make_labelme_json, "labelme_json"),
        (trees.make_made("label_studio", "images"), "label_studio"),
        (trees.make_made("supervisely", "set/img"), "supervisely"),
    ):
        root = make(tmp_path / dataset)
        (image,) = root.rglob("first.jpg")
        shutil.copy(image, image.with_name("new.jpg"))
        part = read_contents(dataset, root).parts[""]
        assert [pair.image.name for pair in part.bare] == ["new.jpg"]


def test_an_export_is_added_to_another_source(tmp_path):
    main = trees.make_yolo(tmp_path / "main")
    also = {"dataset": "coco", "root": str(trees.make_coco(tmp_path / "also"))}
    config = data_of(main, "yolo", also=[also])
    pairs = find_samples(config.data, "train")
    assert [p.name for p in pairs] == ["first", "also1-first", "also1-second"]
    for pair in pairs[1:]:
        expected = trees.truth(pair.name.removeprefix("also1-"))
        assert np.array_equal(read_label(pair.label, pair.facts), expected)


def test_frames_without_a_background_to_be(tmp_path):
    root = make_cvat(tmp_path)
    (root / "SegmentationClass" / "image_1.png").unlink()
    path = root / "labelmap.txt"
    path.write_text(path.read_text().replace("_background_", "road"))
    data = data_of(root, "cvat", classes=["road", "tree", "house"]).data
    with pytest.raises(UserError, match="names no background, which 1 image without"):
        find_samples(data, "train")
