"""Records know their sources, so that changed images and labels are noticed."""

import json
import os
import shutil
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers import CLASSES, make_folder_tree, random_image, random_label, save_image
from PIL import Image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data import prepare
from gcnet_tf.data.check.conversion import checked_records
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.records import source
from gcnet_tf.data.records.manifest import read_manifest, write_manifest
from gcnet_tf.errors import UserError


@pytest.fixture
def converted(tmp_path):
    """Writes a folder and its records; returns a maker of its configuration."""
    make_folder_tree(tmp_path / "source")

    def config(**settings):
        data = {
            "dataset": "folder",
            "root": str(tmp_path / "source"),
            "records": str(tmp_path / "records"),
            "classes": list(CLASSES),
            **settings,
        }
        return config_from_dict({"data": data})

    prepare.ensure_records(config())
    return config


def relabel(tmp_path):
    """Makes the last image's label all tree, by another file."""
    path = tmp_path / "source" / "train" / "labels" / "train_002.png"
    save_image(path, np.ones((24, 32), np.uint8))


def remove_a_pair(tmp_path):
    for kind, ending in (("images", "jpg"), ("labels", "png")):
        (tmp_path / "source" / "train" / kind / f"train_001.{ending}").unlink()


def add_a_pair(tmp_path):
    folder = tmp_path / "source" / "train"
    save_image(folder / "images" / "new.jpg", random_image(77))
    save_image(folder / "labels" / "new.png", random_label(77))


def replace_the_project(tmp_path):
    """Puts another project's images under the same path, with the same names."""
    shutil.rmtree(tmp_path / "source")
    for split, number in (("train", 3), ("val", 2)):
        for index in range(number):
            name, folder = f"{split}_{index:03d}", tmp_path / "source" / split
            save_image(folder / "images" / f"{name}.jpg", random_image(50 + index))
            save_image(folder / "labels" / f"{name}.png", random_label(50 + index, 2))


def touch(tmp_path):
    """Changes the time of a label alone, as an edit that keeps its size."""
    path = tmp_path / "source" / "train" / "labels" / "train_000.png"
    os.utime(path, (1e9, 1e9))


def pixels_per_class(tmp_path):
    """Counts the training pixels of each class in the label files, with Pillow."""
    labels = (tmp_path / "source" / "train" / "labels").iterdir()
    ids = np.concatenate([np.asarray(Image.open(path)).ravel() for path in labels])
    return tuple(int((ids == index).sum()) for index in range(len(CLASSES)))


CHANGES = [relabel, remove_a_pair, add_a_pair, replace_the_project]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_source_is_converted_again(tmp_path, converted, change):
    before = read_manifest(tmp_path / "records", "train").class_histogram
    assert before == pixels_per_class(tmp_path)
    change(tmp_path)
    assert before != pixels_per_class(tmp_path)
    with pytest.warns(UserWarning, match="images or labels of train.*converted again"):
        manifests = prepare.ensure_records(converted())
    assert manifests["train"].class_histogram == pixels_per_class(tmp_path)
    assert prepare.outdated_splits(converted()) == []


@pytest.mark.parametrize("change", [*CHANGES, touch])
def test_stop_says_what_to_do_and_changes_nothing(tmp_path, converted, change):
    before = read_manifest(tmp_path / "records", "train")
    change(tmp_path)
    for prepared in (prepare.ensure_records, checked_records):
        with pytest.raises(UserError, match="train.* --overwrite; or .*=ignore"):
            prepared(converted(on_changed_source="stop"))
    assert read_manifest(tmp_path / "records", "train") == before


@pytest.mark.parametrize("change", [*CHANGES, touch])
def test_ignore_uses_the_records(tmp_path, converted, change):
    before = read_manifest(tmp_path / "records", "train")
    change(tmp_path)
    config = converted(on_changed_source="ignore")
    assert prepare.ensure_records(config)["train"] == before


def test_the_check_before_conversion_covers_changed_splits(tmp_path, converted):
    path = tmp_path / "source" / "train" / "labels" / "train_000.png"
    save_image(path, np.full((24, 32), 9, np.uint8))
    before = read_manifest(tmp_path / "records", "train")
    with pytest.warns(UserWarning, match="of train .*They are converted again"):
        with pytest.raises(UserError, match=r"train_000.png: 9 \(768 pixels\)"):
            checked_records(converted())
    assert read_manifest(tmp_path / "records", "train") == before


def test_the_source_is_looked_at_once_and_its_change_is_told(
    tmp_path, converted, monkeypatch
):
    """A comparison looks at every file, which takes minutes for a million."""
    compared, fingerprint = [], source.source_fingerprint

    def count(pairs):
        compared.append(len(pairs))
        return fingerprint(pairs)

    monkeypatch.setattr(source, "source_fingerprint", count)
    assert checked_records(converted())["train"].num_samples == 3
    assert compared == [3, 2]
    add_a_pair(tmp_path)
    with pytest.warns(UserWarning, match="of train .*They are converted again"):
        assert checked_records(converted())["train"].num_samples == 4
    assert compared == [3, 2, 4, 2]


def test_a_file_without_a_partner_is_reported_before_records_go(tmp_path, converted):
    (tmp_path / "source" / "train" / "labels" / "train_000.png").unlink()
    before = read_manifest(tmp_path / "records", "train")
    with pytest.warns(UserWarning, match="=ignore keeps the records"):
        with pytest.raises(UserError, match="1 image is in .* without a label"):
            prepare.ensure_records(converted())
    assert read_manifest(tmp_path / "records", "train") == before


def test_a_moved_source_has_not_changed(tmp_path, converted):
    os.rename(tmp_path / "source", tmp_path / "elsewhere")
    moved = converted(root=str(tmp_path / "elsewhere"))
    assert prepare.changed_splits(moved) == []


def test_an_archive_that_drops_fractions_of_seconds_changes_nothing(
    tmp_path, converted
):
    for path in (tmp_path / "source").rglob("*.*"):
        seconds = int(path.stat().st_mtime)
        os.utime(path, (seconds, seconds))
    assert prepare.changed_splits(converted()) == []


@pytest.mark.parametrize("empty", [False, True])
def test_records_are_enough_without_the_source(tmp_path, converted, empty):
    shutil.rmtree(tmp_path / "source")
    if empty:  # a mount point
        (tmp_path / "source").mkdir()
    assert prepare.ensure_records(converted())["train"].num_samples == 3


def test_a_limit_compares_the_first_images(tmp_path, converted):
    prepare.ensure_records(converted(), overwrite=True, limit=2)
    relabel(tmp_path)  # the third
    assert prepare.changed_splits(converted()) == []
    remove_a_pair(tmp_path)  # the second
    assert prepare.changed_splits(converted()) == ["train"]


def test_further_sources_count(tmp_path, converted):
    more = make_folder_tree(tmp_path / "more", num_train=1)
    config = converted(also=[{"root": str(more)}])
    prepare.ensure_records(config, overwrite=True)
    assert prepare.changed_splits(config) == []
    save_image(more / "train" / "labels" / "train_000.png", np.ones((24, 32), np.uint8))
    assert prepare.changed_splits(config) == ["train"]


def test_records_of_an_older_version_are_accepted_with_a_word(tmp_path, converted):
    folder = tmp_path / "records" / "train"
    manifest = read_manifest(tmp_path / "records", "train")
    write_manifest(replace(manifest, source=None), folder)
    text = json.loads((folder / "manifest.json").read_text())
    assert set(asdict(manifest)) <= set(text)
    relabel(tmp_path)
    with pytest.warns(UserWarning, match="carry no fingerprint") as caught:
        assert prepare.ensure_records(converted())["train"].source is None
    assert len(caught) == 1


def test_records_of_lists_are_not_compared(tmp_path, converted):
    from gcnet_tf.data.sources.find import find_samples

    pairs = find_samples(converted().data, "val")
    prepare.ensure_records(converted(), ["train"], overwrite=True, listed=pairs)
    assert prepare.ensure_records(converted())["train"].num_samples == 2


def test_the_check_notes_records_of_other_files(tmp_path, converted):
    assert "records" not in check_data(converted(), progress=False).findings
    relabel(tmp_path)
    (item,) = check_data(converted(), progress=False).findings["records"]
    assert item.where == "train" and "other files" in item.detail
    train, val = check_data(converted(label_map=[[2, 1]]), progress=False).findings[
        "records"
    ]
    assert "data.label_map" in train.detail and val.where == "val"


def test_a_resumed_run_keeps_its_records_and_says_so(tmp_path, converted):
    assert prepare.keeping_records(converted()).data.on_changed_source == "ignore"
    relabel(tmp_path)
    with pytest.warns(UserWarning, match="goes on with its records"):
        config = prepare.keeping_records(converted())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = read_manifest(tmp_path / "records", "train")
        assert prepare.ensure_records(config)["train"] == before
    stopping = prepare.keeping_records(converted(on_changed_source="stop"))
    with pytest.raises(UserError, match="--overwrite"):
        prepare.ensure_records(stopping)
