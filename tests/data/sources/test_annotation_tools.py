"""Unchanged exports of labelme and CVAT."""

import numpy as np
import pytest
from annotation_trees import CLASSES, COLOURS, make_cvat, make_labelme, write_lists
from helpers import random_label
from PIL import Image

from gcnet_tf.data.sources import annotation_tools
from gcnet_tf.data.sources.annotation_tools import class_line, export_pairs, read_export
from gcnet_tf.errors import UserError


def names(dataset, root, split, val_share=0.25):
    return [pair.name for pair in export_pairs(dataset, root, split, val_share)]


@pytest.mark.parametrize("first", [["__ignore__"], []])
def test_labelme_names(tmp_path, first):
    make_labelme(tmp_path)
    (tmp_path / "class_names.txt").write_text("\n".join([*first, *CLASSES, ""]))
    assert read_export("labelme", tmp_path) == annotation_tools.Export(CLASSES)


def test_cvat_names_and_colours(tmp_path):
    make_cvat(tmp_path)
    export = read_export("cvat", tmp_path)
    assert (export.names, export.colours) == (CLASSES, COLOURS)
    assert class_line(export.names) == '"classes": ["_background_", "tree", "house"]'


@pytest.mark.parametrize(
    "line, words",
    [
        ("tree", 'line "tree"; allowed: name:red'),
        ("tree:1,2", "allowed: name:red"),
        ("tree:1,2,256::", "colours of 0 to 255"),
        ("tree:1,2,x::", "colours of 0 to 255"),
        (":1,2,3::", "allowed: name:red"),
        ("a:1,2,3::\na:4,5,6::", "the name a twice"),
        ("a:1,2,3::\nb:1,2,3::", r"the colour \(1, 2, 3\) twice"),
        ("# label:color_rgb:parts:actions", "names 0 classes"),
    ],
)
def test_a_bad_label_map(tmp_path, line, words):
    (tmp_path / "labelmap.txt").write_text(line)
    with pytest.raises(UserError, match=words):
        read_export("cvat", tmp_path)


def test_names_in_another_encoding(tmp_path):
    (tmp_path / "class_names.txt").write_bytes("Bäume".encode("latin-1"))
    with pytest.raises(UserError, match="class_names.txt as UTF-8"):
        read_export("labelme", tmp_path)


@pytest.mark.parametrize("dataset", ["labelme", "cvat"])
def test_the_file_of_names_is_needed(tmp_path, dataset):
    with pytest.raises(UserError, match=f"is missing; an export of {dataset}"):
        read_export(dataset, tmp_path)


def test_a_hash_divides_the_images(tmp_path):
    make_labelme(tmp_path, 8)
    train, val = names("labelme", tmp_path, "train"), names("labelme", tmp_path, "val")
    assert (len(train), len(val)) == (6, 2)
    assert sorted(train + val) == [f"image_{index}" for index in range(8)]
    assert val != ["image_0", "image_1"] and val == names("labelme", tmp_path, "val")
    assert names("labelme", tmp_path, "train", 0) == sorted(train + val)


@pytest.mark.parametrize("share, sizes", [(0.01, (2, 1)), (0.9, (1, 2))])
def test_each_split_gets_an_image(tmp_path, share, sizes):
    make_labelme(tmp_path, 3)
    splits = [names("labelme", tmp_path, split, share) for split in ("train", "val")]
    assert tuple(map(len, splits)) == sizes


def test_one_image_is_too_few(tmp_path):
    make_labelme(tmp_path, 1)
    with pytest.raises(UserError, match="too few images for a val split"):
        names("labelme", tmp_path, "val")


@pytest.mark.parametrize("val", ["val", "Validation"])
def test_lists_divide_the_images(tmp_path, val):
    make_cvat(tmp_path)
    write_lists(tmp_path, Train=["image_3", "image_0"], **{val: ["sub/b 1"]})
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").unlink()
    assert names("cvat", tmp_path, "train") == ["image_0", "image_3"]
    assert names("cvat", tmp_path, "val") == ["sub/b 1"]


def test_a_single_list_selects_the_images(tmp_path):
    make_cvat(tmp_path)
    listed = ["image_0", "image_3", "sub/b 1"]
    write_lists(tmp_path, default=listed)
    both = [*names("cvat", tmp_path, "train"), *names("cvat", tmp_path, "val")]
    assert sorted(both) == listed


def test_a_list_of_one_split_only(tmp_path):
    make_cvat(tmp_path)
    write_lists(tmp_path, train=["image_0"])
    with pytest.raises(UserError, match=r"train\.txt, but no list val\.txt"):
        names("cvat", tmp_path, "val")


def test_a_listed_image_is_missing(tmp_path):
    make_cvat(tmp_path)
    (tmp_path / "JPEGImages" / "sub" / "b 1.jpg").unlink()
    with pytest.raises(UserError, match="1 image is listed.*missing.*: sub/b 1"):
        names("cvat", tmp_path, "train")


def test_an_image_without_a_mask(tmp_path):
    make_labelme(tmp_path, 4)
    (tmp_path / "SegmentationClass" / "image_2.png").unlink()
    with pytest.raises(UserError, match=r"image_2\.jpg"):
        [names("labelme", tmp_path, split) for split in ("train", "val")]


def test_an_export_without_images(tmp_path):
    make_cvat(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match='no folder JPEGImages.*"Save images"'):
        names("cvat", tmp_path, "train")


def test_masks_of_older_versions_of_labelme(tmp_path):
    make_labelme(tmp_path, 4)
    (tmp_path / "SegmentationClass").rename(tmp_path / "SegmentationClassPNG")
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "SegmentationClass" / "image_0.npy").touch()
    (pair,) = export_pairs("labelme", tmp_path, "val", 0.25)
    assert pair.label.parent.name == "SegmentationClassPNG"


def test_the_trees_are_like_those_of_the_tools(tmp_path):
    """CVAT's masks hold colours, and labelme's hold indices."""
    cvat = make_cvat(tmp_path / "cvat") / "SegmentationClass" / "image_0.png"
    colours = {tuple(c) for c in np.asarray(Image.open(cvat)).reshape(-1, 3).tolist()}
    assert colours == set(COLOURS)
    labelme = make_labelme(tmp_path / "l") / "SegmentationClass" / "image_0.png"
    with Image.open(labelme) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), random_label(0))
