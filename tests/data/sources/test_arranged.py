"""Folders of images and masks in their usual arrangements, and in unclear ones."""

import export_trees as trees
import pytest
from helpers import random_image, save_image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError


def make(root, *names, label="{}.png", images="images", labels="masks"):
    """Writes images and masks, each name like "name" or "split/name"."""
    for name in names:
        save_image(root / images / f"{name}.jpg", random_image(0, *trees.SIZE))
        save_image(root / labels / label.format(name), trees.truth("first"))
    return root


def names(root, split, dataset="folder"):
    return [pair.name for pair in find_pairs(dataset, root, split)]


@pytest.mark.parametrize("val", ["val", "Valid", "validation", "VAL", "val2017"])
@pytest.mark.parametrize("order", ["split first", "kind first"])
def test_spellings_of_val(tmp_path, val, order):
    if order == "kind first":
        make(tmp_path, "train/a", f"{val}/b", "test/c")
    else:
        for split, name in (("train", "a"), (val, "b"), ("test", "c")):
            make(tmp_path / split, name)
    assert [names(tmp_path, s) for s in ("train", "val", "test")] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_scenes_are_no_splits(tmp_path):
    make(tmp_path, *(f"scene{s}/{n}" for s in range(4) for n in "ab"))
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert len(train) + len(val) == 8 and len(val) == 2
    assert val[0].split("/")[0] == val[1].split("/")[0]


@pytest.mark.parametrize("dataset", ["folder", "beside"])
def test_a_share_is_kept_without_val(tmp_path, dataset):
    folder = "images" if dataset == "folder" else "."
    masks = "masks" if dataset == "folder" else "."
    make(tmp_path, *"abcde", label="{}_mask.png", images=folder, labels=masks)
    train, val = names(tmp_path, "train", dataset), names(tmp_path, "val", dataset)
    assert sorted(train + val) == list("abcde") and len(val) == 1


@pytest.mark.parametrize("dataset", ["folder", "beside"])
def test_images_in_no_split_are_refused(tmp_path, dataset):
    folder = "images" if dataset == "folder" else "."
    masks = "masks" if dataset == "folder" else "."
    make(tmp_path, "train/a", "val/b", label="{}_mask.png", images=folder, labels=masks)
    save_image(tmp_path / folder / "stray.png", random_image(0))
    with pytest.raises(UserError, match=r"that are in none: stray\.png\. Move them"):
        names(tmp_path, "train", dataset)


@pytest.mark.parametrize("dataset", ["folder", "beside"])
def test_the_check_lists_images_without_a_mask(tmp_path, dataset):
    folder = "images" if dataset == "folder" else "."
    masks = "masks" if dataset == "folder" else "."
    make(tmp_path, "train/a", "val/b", label="{}_mask.png", images=folder, labels=masks)
    for name in ("train/c", "train/d"):
        save_image(tmp_path / folder / f"{name}.jpg", random_image(1, *trees.SIZE))
    data = {"dataset": dataset, "root": str(tmp_path), "records": str(tmp_path / "r")}
    config = config_from_dict({"data": {**data, "classes": ["a", "b", "c"]}})
    report = check_data(config, progress=False)
    strays = [item.where for item in report.findings["image_without_label"]]
    assert [path.rpartition("/")[2] for path in strays] == ["c.jpg", "d.jpg"]
    assert len(report.looks) == 2
    with pytest.raises(UserError, match="2 images are in .* without a label: c.jpg, d"):
        find_samples(config.data, "train")


def test_two_labels_of_an_image_are_refused(tmp_path):
    make(tmp_path, "a")
    save_image(tmp_path / "masks" / "a_mask.png", trees.truth("first"))
    with pytest.raises(UserError, match="they would share a label"):
        names(tmp_path, "train")


def test_an_image_may_be_called_mask(tmp_path):
    """Only an ending after the name of an image makes a label."""
    make(tmp_path, "a", "white_mask", images=".", labels=".", label="{}_mask.png")
    found = [*names(tmp_path, "train", "beside"), *names(tmp_path, "val", "beside")]
    assert sorted(found) == ["a", "white_mask"]


def test_masks_are_preferred_to_folders_without_any(tmp_path):
    make(tmp_path, "a", "b")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").touch()
    assert names(tmp_path, "train") + names(tmp_path, "val") in (["a", "b"], ["b", "a"])
