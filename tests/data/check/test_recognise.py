"""Recognition of a folder, and the configuration that is written for it."""

import shutil

import numpy as np
import pytest
from annotation_trees import CLASSES, COLOURS, make_cvat, make_labelme
from helpers import make_folder_tree, random_image, save_image

from gcnet_tf.config import config_from_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.check.recognise import found_text, recognise, write_config
from gcnet_tf.data.check.report import findings_text
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.errors import UserError


def test_a_folder(tmp_path):
    recognised = recognise(make_folder_tree(tmp_path, num_classes=4))
    assert (recognised.dataset, recognised.num_images) == (
        "folder",
        {"train": 3, "val": 2},
    )
    assert recognised.classes == ("class_0", "class_1", "class_2", "class_3")
    assert "put them into the file" in found_text(recognised)


@pytest.mark.parametrize(
    "make_tree, dataset", [(make_labelme, "labelme"), (make_cvat, "cvat")]
)
def test_an_export(tmp_path, make_tree, dataset):
    recognised = recognise(make_tree(tmp_path))
    assert (recognised.dataset, recognised.classes) == (dataset, CLASSES)
    assert recognised.num_images == {"train": 4, "val": 1}
    assert (recognised.palette == COLOURS) == (dataset == "cvat")
    assert "put them" not in found_text(recognised)


def test_the_ignored_name_is_no_class(tmp_path):
    make_cvat(tmp_path)
    path = tmp_path / "labelmap.txt"
    path.write_text(path.read_text().replace("tree", "__ignore__"))
    recognised = recognise(tmp_path)
    assert recognised.classes == ("_background_", "house")
    assert recognised.palette == (COLOURS[0], COLOURS[2])


def test_the_median_size(tmp_path):
    make_folder_tree(tmp_path)
    for index in range(2):
        path = tmp_path / "train" / "images" / f"train_00{index}.jpg"
        save_image(path, random_image(0, 90, 40))
    assert recognise(tmp_path).size == (24, 32)
    assert "24" in found_text(recognise(tmp_path))


@pytest.mark.parametrize("make_tree", [make_folder_tree, make_labelme, make_cvat])
def test_the_configuration_works(tmp_path, make_tree):
    root = make_tree(tmp_path / "my data")
    out = tmp_path / "configs" / "mine.json"
    out.parent.mkdir()
    write_config(recognise(root), root, out, "mine")
    config = load_config(out)
    assert len(find_samples(config.data, "train")) >= 3
    assert config.data.records == "data/tfrecords/mine"
    assert config.model.backbone.depth == 50 and config.train.batch_size == 8


@pytest.mark.parametrize(
    "size, scale, crop",
    [
        ((375, 500), (1500, 375), 352),
        ((500, 375), (1500, 375), 352),
        ((1024, 2048), (4096, 1024), 512),
        ((3000, 4000), (4096, 1024), 512),
        ((512, 512), (2048, 512), 512),
        ((20, 30), (80, 20), 32),
    ],
)
def test_scale_and_crop_follow_the_images(tmp_path, size, scale, crop):
    root = make_folder_tree(tmp_path / "source", 1, 1)
    for split in ("train", "val"):
        (path,) = (root / split / "images").iterdir()
        save_image(path, np.zeros((*size, 3), np.uint8))
    write_config(recognise(root), root, tmp_path / "c.json", "c")
    config = load_config(tmp_path / "c.json")
    assert config.augment.base_scale == config.evaluation.scale == scale
    assert config.augment.crop_size == (crop, crop)


def test_an_existing_file_is_not_overwritten(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    out = tmp_path / "mine.json"
    out.write_text("mine")
    with pytest.raises(UserError, match="mine.json exists already"):
        write_config(recognise(root), root, out, "mine")
    assert out.read_text() == "mine"


def test_an_unknown_layout(tmp_path):
    with pytest.raises(UserError, match="none of the known layouts.*\nKnown layouts"):
        recognise(tmp_path)
    with pytest.raises(UserError, match="There is no folder .*gone"):
        recognise(tmp_path / "gone")


def test_an_unreadable_image_is_named(tmp_path):
    make_folder_tree(tmp_path)
    (tmp_path / "train" / "images" / "train_000.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"Cannot read .*train_000\.jpg"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    "ids, names, pairs",
    [
        ([0, 1, 2], ("class_0", "class_1", "class_2"), ()),
        (
            [1, 2, 3],
            ("class_1", "class_2", "class_3"),
            ((0, 255), (1, 0), (2, 1), (3, 2)),
        ),
        (
            [0, 7, 40],
            ("class_0", "class_7", "class_40"),
            ((0, 0), (1, 255), (2, 255), (7, 1), (40, 2)),
        ),
        ([254, 255], ("class_0", "class_254"), ((0, 0), (1, 255), (254, 1))),
        ([0, 255], ("class_0", "class_1"), ()),
    ],
)
def test_ids_with_gaps_are_mapped_to_the_classes_that_occur(
    tmp_path, ids, names, pairs
):
    root = make_folder_tree(tmp_path / "source", 1, 1)
    label = np.resize(np.array(ids, np.uint8), (24, 32))
    for split in ("train", "val"):
        save_image(root / split / "labels" / f"{split}_000.png", label)
    recognised = recognise(root)
    assert recognised.classes == names
    assert ("data.label_map" in found_text(recognised)) == bool(pairs)
    write_config(recognised, root, tmp_path / "c.json", "c")
    config = load_config(tmp_path / "c.json")
    assert config.data.label_map == pairs
    (pair,) = find_samples(config.data, "train")
    stored = read_label(pair.label, pair.facts)
    # Each place of the label has the class that is named after its id.
    for file_id in set(ids) - {255}:
        (index,) = np.unique(stored[label == file_id])
        assert config.data.classes[index] == f"class_{file_id}"
    assert (stored[label == 255] == 255).all()


@pytest.mark.parametrize("make_tree", [make_folder_tree, make_labelme, make_cvat])
def test_a_share_is_proposed_where_nothing_divides(tmp_path, make_tree):
    root = make_tree(tmp_path / "source")
    if make_tree is make_folder_tree:
        make_folder_tree(root, num_train=20)
        shutil.rmtree(root / "val")
    recognised = recognise(root)
    assert "10% are kept for validation (data.val_share)" in found_text(recognised)
    write_config(recognised, root, tmp_path / "c.json", "c")
    data = load_config(tmp_path / "c.json").data
    assert data.val_share == 0.1
    sizes = {split: len(find_samples(data, split)) for split in ("train", "val")}
    assert sizes == recognised.num_images


def test_no_share_is_proposed_for_a_divided_folder(tmp_path):
    recognised = recognise(make_folder_tree(tmp_path))
    assert recognised.val_share is None and "val_share" not in found_text(recognised)


def test_errors_about_ids_name_the_setting(tmp_path):
    root = make_folder_tree(tmp_path / "source")
    path = root / "train" / "labels" / "train_000.png"
    save_image(path, np.full((24, 32), 3, np.uint8))  # as where ids begin at 1
    data = {"root": str(root), "records": "r", "classes": ["a", "b", "c"]}
    config = config_from_dict({"data": {"dataset": "folder", **data}})
    report = check_data(config, progress=False)
    assert "data.label_map" in findings_text(report, ["label_values"])
    with pytest.raises(UserError, match="holds the value 3; .* data.label_map"):
        read_label(path, facts_of(config.data))
