"""Label Studio's brush, polygons and images."""

import json

import export_trees as trees
import numpy as np
import pytest
from helpers import random_image, save_image

from gcnet_tf.data.sources.exports.label_studio import decoded_brush, read_label_studio
from gcnet_tf.errors import UserError


def make(root, tasks, images=("images/a.jpg",)):
    for name in images:
        save_image(root / name, random_image(0, *trees.SIZE))
    trees.write_json(root / "tasks.json", tasks)
    return root


def task(*results, image="/data/upload/1/a.jpg", **annotation):
    return {
        "id": 3,
        "data": {"image": image},
        "annotations": [{"result": list(results), **annotation}],
    }


def result(kind, label="cat", **value):
    height, width = trees.SIZE
    return {
        "type": kind,
        "value": {kind: [label], **value},
        "original_width": width,
        "original_height": height,
    }


def square(left=25, top=25, right=75, bottom=50):
    """Returns a polygon in percent."""
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return result("polygonlabels", points=points)


def only_label(root):
    (pair,) = read_label_studio(root).parts[""].pairs
    return pair.label.ids()


def test_shapes_are_in_percent(tmp_path):
    expected = np.zeros(trees.SIZE, np.uint8)
    expected[10:20, 15:45] = 1
    assert np.array_equal(only_label(make(tmp_path / "p", [task(square())])), expected)
    box = result("rectanglelabels", x=25, y=25, width=50, height=25, rotation=0)
    assert np.array_equal(only_label(make(tmp_path / "r", [task(box)])), expected)
    # A quarter turn around the upper left corner: 30x10 pixels become 10x30.
    box = result("rectanglelabels", x=50, y=10, width=50, height=25, rotation=90)
    expected = np.zeros(trees.SIZE, np.uint8)
    expected[4:34, 20:30] = 1
    assert np.array_equal(only_label(make(tmp_path / "t", [task(box)])), expected)


def test_an_ellipse_covers_its_area(tmp_path):
    shape = result("ellipselabels", x=50, y=50, radiusX=20, radiusY=25, rotation=0)
    label = only_label(make(tmp_path, [task(shape)]))
    assert abs(label.sum() - np.pi * 12 * 10) < 8
    assert label[20, 30] and label[20, 19] and not label[20, 17] and not label[9, 30]


def test_pngs_are_painted_class_by_class(tmp_path):
    contents = read_label_studio(trees.make_brush_pngs(tmp_path))
    assert contents.names == ("background", "cat", "dog")
    labels = {pair.name: pair.label.ids() for pair in contents.parts[""].pairs}
    for number, scene in enumerate(trees.SCENES, 1):
        expected = np.zeros(trees.SIZE, np.uint8)
        for index, class_name in enumerate(trees.NAMES, 1):
            for name, (left, top, right, bottom) in trees.SCENES[scene]:
                if name == class_name:
                    expected[top:bottom, left:right] = index
        assert np.array_equal(labels[f"images/{number}"], expected)


def test_pngs_without_a_known_image(tmp_path):
    trees.make_brush_pngs(tmp_path)
    (tmp_path / "images" / "2.jpg").rename(tmp_path / "images" / "cat.jpg")
    with pytest.raises(UserError, match='tasks 2, but no images.*Export as "JSON"'):
        read_label_studio(tmp_path)


@pytest.mark.parametrize(
    "address, image",
    [
        ("/data/upload/1/1a2b3c4d-a.jpg", "images/a.jpg"),
        ("/data/upload/1/1a2b3c4d-a.jpg", "images/1a2b3c4d-a.jpg"),
        ("/data/local-files/?d=set/b/a.jpg", "b/a.jpg"),
        ("s3://bucket/my%20images/a%20b.jpg", "a b.jpg"),
        ("C:\\photos\\a.jpg", "a.jpg"),
    ],
)
def test_images_are_found_by_their_address(tmp_path, address, image):
    root = make(tmp_path, [task(square(), image=address)], [image, "b/other.jpg"])
    contents = read_label_studio(root)
    (pair,) = contents.parts[""].pairs
    assert pair.image == root / image


def test_folders_decide_between_equal_names(tmp_path):
    tasks = [task(square(), image=f"/data/local-files/?d=x/{f}/a.jpg") for f in "bc"]
    contents = read_label_studio(make(tmp_path, tasks, ["b/a.jpg", "c/a.jpg"]))
    assert [p.name for p in contents.parts[""].pairs] == ["b/a", "c/a"]
    with pytest.raises(UserError, match="each may be the image of task 3"):
        make(tmp_path, [task(square(), image="/x/a.jpg")])
        (tmp_path / "images" / "a.jpg").unlink()
        read_label_studio(tmp_path)


def test_a_cancelled_annotation_is_not_used(tmp_path):
    both = task(square(0, 0, 100, 100), was_cancelled=True)
    both["annotations"] += task(square())["annotations"]
    assert only_label(make(tmp_path / "a", [both])).sum() == 300
    tasks = [task(square()), task(image="/x/empty.jpg")]
    root = make(tmp_path / "b", tasks, ["a.jpg", "empty.jpg"])
    part = read_label_studio(root).parts[""]
    assert [pair.name for pair in part.bare] == ["empty"] and len(part.pairs) == 1


def test_results_without_an_area_are_counted(tmp_path):
    point = result("keypointlabels", x=5, y=5, width=1)
    contents = read_label_studio(make(tmp_path, [task(point, point, square())]))
    assert contents.parts[""].notes[0].endswith("passed over: 2 of keypointlabels.")


def test_a_brush_that_does_not_fit(tmp_path):
    rle = json.loads(
        (
            trees.make_made("label_studio", "i")(tmp_path / "x") / "tasks.json"
        ).read_text()
    )
    bits = rle[0]["annotations"][0]["result"][0]["value"]["rle"]
    assert decoded_brush(bits, 40 * 60 * 4).max() == 255
    with pytest.raises(UserError, match="brush of 2400 pixels in an image of 2000"):
        decoded_brush(bits, 8000)
    with pytest.raises(UserError, match="cut short"):
        decoded_brush(bits[:30], 40 * 60 * 4)


@pytest.mark.parametrize(
    "tasks, message",
    [
        ([{**task(square()), "data": 3}], "task 3 is not as Label Studio writes it"),
        ([task({"type": "polygonlabels"})], "task 3 is not as Label Studio writes it"),
        ([task(square(), image="/x/gone.jpg")], "1 image is named in .*task 3"),
        ([task(square()), task(square())], "two tasks with the image"),
    ],
)
def test_broken_files(tmp_path, tasks, message):
    with pytest.raises(UserError, match=message):
        read_label_studio(make(tmp_path, tasks))
