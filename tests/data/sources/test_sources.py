"""The images of a split from all sources, and the facts for reading their labels."""

import dataclasses

import numpy as np
import pytest
from annotation_trees import CLASSES as EXPORTED
from annotation_trees import make_cvat, make_labelme
from helpers import (
    CLASSES,
    make_cityscapes_tree,
    make_folder_tree,
    make_voc_tree,
    random_label,
    save_image,
)

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.catalog import dataset_facts, facts_of
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.records.shards import write_records
from gcnet_tf.data.sources.find import deciding_settings, find_samples
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.errors import UserError


def make_data(dataset, root, **settings):
    settings = {"dataset": dataset, "root": str(root), **settings}
    return config_from_dict({"data": settings}).data


def labels_of(pairs):
    return {pair.name: read_label(pair.label, pair.facts) for pair in pairs}


# The number of images


def test_a_wrong_number_of_images_is_an_error(tmp_path):
    make_voc_tree(tmp_path)
    data = make_data("voc12aug", tmp_path)
    with pytest.raises(UserError, match="has 5 images here; there should be 10582"):
        find_samples(data, "train")
    with pytest.raises(UserError, match="2 images.* 1449.*--allow-partial.*=true"):
        find_samples(data, "val")
    allowed = dataclasses.replace(data, allow_partial=True)
    assert len(find_samples(allowed, "train")) == 5


def test_the_right_number_of_images_is_no_error(tmp_path, monkeypatch):
    from gcnet_tf.data import catalog

    make_voc_tree(tmp_path)
    monkeypatch.setitem(catalog._NUM_IMAGES, "voc12aug", {"train": 5, "val": 2})
    assert len(find_samples(make_data("voc12aug", tmp_path), "train")) == 5


# Cityscapes


def test_both_kinds_of_cityscapes_labels_make_the_same_records(tmp_path):
    contents = []
    for label_ids in (True, False):
        root = make_cityscapes_tree(tmp_path / str(label_ids), label_ids)
        data = make_data("cityscapes", root, allow_partial=True)
        out = tmp_path / f"records_{label_ids}"
        pairs = find_samples(data, "train")
        facts = facts_of(data)
        manifest = write_records(pairs, out, "train", facts, progress=False)
        contents.append([shard.sha256 for shard in manifest.shards])
    assert contents[0] == contents[1] and len(contents[0]) == 2


def test_an_unknown_cityscapes_id_is_named(tmp_path):
    make_cityscapes_tree(tmp_path)
    path = next(tmp_path.rglob("train/ulm/*labelIds.png"))
    save_image(path, np.array([[0, 34]], np.uint8))
    pairs = find_samples(make_data("cityscapes", tmp_path, allow_partial=True), "train")
    with pytest.raises(UserError, match=r"ulm.*labelIds\.png holds the value 34"):
        labels_of(pairs)


def test_a_label_map_of_cityscapes_means_the_original_ids(tmp_path):
    make_cityscapes_tree(tmp_path, label_ids=False)
    make_cityscapes_tree(tmp_path)
    data = make_data(
        "cityscapes", tmp_path, allow_partial=True, label_map=[[9, 1], [26, 255]]
    )
    label, *_ = labels_of(find_samples(data, "train")).values()
    raw = read_label(
        next(tmp_path.rglob("train/aachen/*labelIds.png")),
        dataset_facts("folder", [str(index) for index in range(34)]),
    )
    assert set(label[np.isin(raw, (8, 9))]) == {1}  # sidewalk, and parking, too
    assert set(label[raw == 26]) == {255}
    assert set(label[raw == 27]) == {14}


def test_a_label_map_of_cityscapes_needs_the_original_ids(tmp_path):
    make_cityscapes_tree(tmp_path, label_ids=False)
    data = make_data("cityscapes", tmp_path, allow_partial=True, label_map=[[9, 1]])
    with pytest.raises(UserError, match="label_map means the ids of .*labelIds.png"):
        find_samples(data, "train")


def test_listed_cityscapes_labels_are_read_by_their_names(tmp_path):
    contents = []
    for label_ids in (True, False):
        root = make_cityscapes_tree(tmp_path / str(label_ids), label_ids)
        data = make_data("cityscapes", root, allow_partial=True)
        listed = find_pairs("cityscapes", root, "val")
        contents.append(labels_of(find_samples(data, "train", listed)))
    assert contents[0].keys() == contents[1].keys()
    for name, label in contents[0].items():
        assert np.array_equal(label, contents[1][name])


# The label map


def test_listed_ids_are_mapped_and_others_stay(tmp_path):
    make_folder_tree(tmp_path, num_classes=5)
    data = make_data(
        "folder", tmp_path, classes=CLASSES, label_map=[[3, 1], [4, 255], [0, 2]]
    )
    labels = labels_of(find_samples(data, "train"))
    raw = random_label(0, 5)
    for file_id, class_id in {0: 2, 1: 1, 2: 2, 3: 1, 4: 255, 255: 255}.items():
        assert set(labels["train_000"][raw == file_id]) == {class_id}


def test_ids_that_are_neither_listed_nor_classes_are_refused(tmp_path):
    make_folder_tree(tmp_path, num_classes=5)
    data = make_data("folder", tmp_path, classes=CLASSES, label_map=[[3, 1]])
    with pytest.raises(UserError, match="holds the value 4; allowed are 0..3"):
        labels_of(find_samples(data, "train"))


def test_a_label_map_of_ade20k_means_the_ids_in_its_files(tmp_path):
    path = save_image(tmp_path / "a.png", np.array([[0, 1, 2, 150]], np.uint8))
    facts = facts_of(make_data("ade20k", tmp_path, label_map=[[2, 0], [0, 7]]))
    assert read_label(path, facts).tolist() == [[7, 0, 0, 149]]


@pytest.mark.parametrize("class_id", [3, 254])
def test_a_label_map_to_an_unknown_class_is_refused(tmp_path, class_id):
    make_folder_tree(tmp_path)
    data = make_data("folder", tmp_path, classes=CLASSES, label_map=[[0, class_id]])
    message = rf"data\.label_map: received the class id {class_id} for the id 0; .*0..2"
    with pytest.raises(UserError, match=message):
        find_samples(data, "train")


# Exports of annotation tools


def test_an_export_is_matched_by_the_names_of_its_classes(tmp_path):
    """The order of the classes in the configuration does not matter."""
    labelme = make_labelme(tmp_path / "labelme")
    cvat = make_cvat(tmp_path / "cvat")
    classes = ["house", "_background_", "tree"]
    order = np.zeros(256, np.uint8)
    order[[0, 1, 2, 255]] = 1, 2, 0, 255
    for dataset, root in (("labelme", labelme), ("cvat", cvat)):
        data = make_data(dataset, root, classes=classes)
        labels = labels_of(find_samples(data, "train") + find_samples(data, "val"))
        raw = random_label(0) if dataset == "labelme" else random_label(0) % 3
        assert np.array_equal(labels["image_0"], order[raw])
    assert "sub/b 1" in labels


@pytest.mark.parametrize("classes", [["_background_", "tree"], [*EXPORTED, "car"]])
def test_classes_that_differ_from_the_export_are_refused(tmp_path, classes):
    root = make_labelme(tmp_path)
    with pytest.raises(UserError) as error:
        find_samples(make_data("labelme", root, classes=classes), "train")
    assert "class_names.txt names _background_, tree, house. " in str(error.value)
    assert str(error.value).endswith('"classes": ["_background_", "tree", "house"]')


def test_a_label_map_of_an_export(tmp_path):
    """A label map can merge classes and give them other names."""
    root = make_cvat(tmp_path)
    data = make_data("cvat", root, classes=["ground", "thing"], label_map=[[1, 1]])
    with pytest.raises(UserError, match="names _background_, tree, house"):
        find_samples(data, "train")
    pairs = [[0, 0], [1, 1], [2, 1]]
    data = make_data("cvat", root, classes=["ground", "thing"], label_map=pairs)
    labels = labels_of(find_samples(data, "train") + find_samples(data, "val"))
    assert np.array_equal(labels["image_1"], random_label(1) % 3 > 0)


# Several sources


@pytest.fixture
def several(tmp_path):
    """A folder with a further folder, a labelme export and VOC."""
    make_folder_tree(tmp_path / "main")
    make_folder_tree(tmp_path / "more", num_train=2, num_classes=4)
    make_labelme(tmp_path / "labelme", 4)
    (tmp_path / "labelme" / "class_names.txt").write_text("ground\nhouse\ntree")
    make_voc_tree(tmp_path / "voc")
    every_id = [[i, i % 3] for i in range(21)]
    also = [
        {"root": "more", "label_map": [[3, 0]], "splits": ["train", "val"]},
        {"dataset": "labelme", "root": "labelme"},
        {"dataset": "voc12aug", "root": "voc", "label_map": every_id},
    ]
    for source in also:
        source["root"] = str(tmp_path / source["root"])
    settings = {"classes": CLASSES, "also": also, "allow_partial": True}
    return make_data("folder", tmp_path / "main", **settings)


def test_sources_are_added_to_their_splits(several):
    train, val = find_samples(several, "train"), find_samples(several, "val")
    prefixes = [pair.name.partition("-")[0] for pair in train]
    assert prefixes[:3] == ["train_000", "train_001", "train_002"]
    assert prefixes[3:] == ["also1"] * 2 + ["also2"] * 4 + ["also3"] * 5
    names = ["val_000", "val_001", "also1-val_000", "also1-val_001"]
    assert [pair.name for pair in val] == names
    assert len({pair.name for pair in train}) == len(train)


def test_each_source_has_its_own_map(several):
    labels = labels_of(find_samples(several, "train"))
    raw = random_label(0, 4)
    assert np.array_equal(labels["also1-train_000"], np.where(raw == 3, 0, raw))
    expected = np.array([0, 2, 1], np.uint8)[random_label(1) % 255]
    inside = random_label(1) < 3
    assert np.array_equal(labels["also2-image_1"][inside], expected[inside])
    raw = random_label(0, 21)
    assert np.array_equal(
        labels["also3-2007_000000"], np.where(raw == 255, 255, raw % 3)
    )


def test_unlisted_ids_of_another_data_set_are_refused(several):
    """Class 1 of VOC is an aeroplane, and class 1 of the configuration is a tree."""
    sources = [dataclasses.replace(several.also[2], label_map=((0, 0),))]
    data = dataclasses.replace(several, also=tuple(sources))
    with pytest.raises(UserError, match="holds the values 1, 2, 3, 4, 5 and more"):
        labels_of(find_samples(data, "train"))


def test_a_missing_source_is_named(several, tmp_path):
    (tmp_path / "more").rename(tmp_path / "gone")
    with pytest.raises(UserError, match=r"^data\.also\[0\]: The folder .*more"):
        find_samples(several, "train")


def test_an_incomplete_further_source_is_an_error(several):
    data = dataclasses.replace(several, allow_partial=False)
    with pytest.raises(UserError, match=r"^data\.also\[2\]: The train split of voc"):
        find_samples(data, "train")


def test_deciding_settings(several):
    assert deciding_settings(make_data("voc12aug", "x"), "train") == {}
    assert deciding_settings(several, "val") == {
        "also": [{"dataset": "folder", "label_map": [[3, 0]]}]
    }
    train = deciding_settings(several, "train")
    assert [source["dataset"] for source in train["also"]] == [
        *("folder", "labelme", "voc12aug")
    ]
    assert train["val_share"] == 0.2
