"""A split that a data set does not have is an error in every layout, with a list."""

import shutil

import pytest
from annotation_trees import CLASSES, make_cvat, make_labelme, write_lists
from helpers import (
    exit_code,
    make_cityscapes_tree,
    make_folder_config,
    make_folder_tree,
    make_voc_tree,
    random_image,
    random_label,
    save_image,
)

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError


def make_ade20k(root):
    for folder in ("training", "validation", "extra"):
        save_image(root / "images" / folder / "a.jpg", random_image(0))
        save_image(root / "annotations" / folder / "a.png", random_label(0))
    return root


# What a user may write, and the splits that each layout has.
@pytest.mark.parametrize(
    "dataset, make, split, allowed",
    [
        ("cvat", make_cvat, "test", "train, val"),
        ("cvat", make_cvat, "default", "train, val"),
        ("labelme", make_labelme, "vla", "train, val"),
        ("folder", make_folder_tree, "test", "train, val"),
        ("folder", make_folder_tree, "train/../train", "train, val"),
        ("shapes", make_folder_tree, ".", "train, val"),
        ("voc12aug", make_voc_tree, "test", "train, val, aug"),
        ("ade20k", make_ade20k, "training", "train, val, extra"),
        ("cityscapes", make_cityscapes_tree, "train/ulm", "train, val"),
        ("cityscapes", make_cityscapes_tree, "", "train, val"),
    ],
)
def test_an_unknown_split_is_an_error(dataset, make, split, allowed, tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match=f'no split "{split}"; allowed: {allowed}'):
        find_pairs(dataset, tmp_path, split)


def test_a_further_split_is_taken(tmp_path):
    assert len(find_pairs("ade20k", make_ade20k(tmp_path / "a"), "extra")) == 1
    root = make_folder_tree(tmp_path / "f")
    (root / "val").rename(root / "test")
    assert len(find_pairs("folder", root, "test")) == 2


def test_a_list_of_an_export_makes_a_split(tmp_path):
    make_cvat(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").unlink()
    write_lists(tmp_path, train=["image_0"], val=["image_1"], test=["image_3"])
    assert [pair.name for pair in find_pairs("cvat", tmp_path, "test")] == ["image_3"]
    with pytest.raises(UserError, match="allowed: train, val, test.$"):
        find_pairs("cvat", tmp_path, "vla")


def test_an_export_without_lists_says_what_divides_it(tmp_path):
    make_labelme(tmp_path)
    with pytest.raises(UserError, match="data.val_share makes these two"):
        find_pairs("labelme", tmp_path, "test")


def without_val(root):
    make_folder_tree(root)
    shutil.rmtree(root / "val")
    return root


@pytest.mark.parametrize(
    "dataset, make", [("cvat", make_cvat), ("folder", without_val)]
)
def test_the_check_reports_it(dataset, make, tmp_path):
    root = str(make(tmp_path))
    data = {"dataset": dataset, "root": root, "classes": CLASSES, "records": root}
    report = check_data(config_from_dict({"data": data}), ["test"], progress=False)
    assert not report.looks
    assert 'no split "test"' in report.findings["layout"][0].detail


@pytest.mark.parametrize("script", ["check_data", "make_tfrecords"])
def test_commands_refuse_it(script, tmp_path, capsys):
    config = make_folder_config(tmp_path / "c.json")
    assert exit_code(script, "--cfg", config, "--split", "vla") == 2
    captured = capsys.readouterr()
    assert 'no split "vla"; allowed: train, val' in captured.out + captured.err
    assert not (tmp_path / "records").exists()
