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
from gcnet_tf.data.sources.exports.contents import below
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


def test_some_boxes_are_counted(tmp_path, recwarn):
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


@pytest.mark.parametrize(
    "make, file",
    [
        (trees.make_coco, COCO_FILE),
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
    data = data_of(tmp_path, "labelme_json", classes=list(found.classes)).data
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
