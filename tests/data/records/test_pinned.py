"""A reader keeps its records while another process converts the source again."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import CLASSES, make_folder_tree, random_image, save_image

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.errors import UserError


@pytest.fixture
def config(tmp_path):
    make_folder_tree(tmp_path / "source", num_train=9)
    data = {
        "dataset": "folder",
        "root": str(tmp_path / "source"),
        "records": str(tmp_path / "records"),
        "classes": list(CLASSES),
    }
    config = config_from_dict({"data": data})
    ensure_records(config)
    return config


def change_source(tmp_path):
    """Makes all labels and images of train others, and adds a pair."""
    for index in range(10):
        folder, name = tmp_path / "source" / "train", f"train_{index:03d}"
        save_image(folder / "images" / f"{name}.jpg", random_image(70 + index))
        label = np.full((24, 32), 1, np.uint8)
        save_image(folder / "labels" / f"{name}.png", label)


def images(config, split="train"):
    return by_name(evaluation_samples(config, split))


def by_name(samples):
    return {sample["name"]: sample["image"].tobytes() for sample in samples}


def entries(tmp_path):
    return {path.name for path in (tmp_path / "records").iterdir()}


def test_a_reader_keeps_its_records_through_conversions(tmp_path, config):
    before = images(config)
    late = evaluation_samples(config)
    with pinned(config) as reading:
        for opened in [evaluation_samples(reading, "train") for _ in range(2)]:
            change_source(tmp_path)
            ensure_records(config, overwrite=True)
            assert by_name(opened) == before
            assert images(reading) == before
            assert len(images(config)) == 10
        assert len(list(late)) == 2  # val is the same, and has kept its names
    assert entries(tmp_path) == {"train", "val"}


def test_pinning_takes_no_space(config):
    with pinned(config, ["val"]) as reading:
        split = os.path.join(reading.data.records, "val")
        shards = [name for name in os.listdir(split) if name.endswith("tfrecord")]
        assert shards
        for name in shards:
            original = os.path.join(config.data.records, "val", name)
            assert os.path.samefile(os.path.join(split, name), original)
        assert os.listdir(reading.data.records) == ["val"]


def test_links_of_a_killed_reader_are_removed(tmp_path, config):
    code = (
        "import os, sys\n"
        "from gcnet_tf.config import config_from_dict\n"
        "from gcnet_tf.data.records.pinned import pinned\n"
        f"data = {{'dataset': 'folder', 'classes': {list(CLASSES)},"
        f" 'records': {config.data.records!r}}}\n"
        "with pinned(config_from_dict({'data': data})):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert len(entries(tmp_path)) == 4  # the links and their lock
    with pinned(config):  # the living one is not abandoned
        assert len(entries(tmp_path)) == 4
        ensure_records(config, overwrite=True)
        assert len(entries(tmp_path)) == 4
    assert entries(tmp_path) == {"train", "val"}


@pytest.mark.parametrize("failing", ["link", "access"])
def test_where_links_cannot_be_made_the_records_are_read(config, monkeypatch, failing):
    def refuse(*arguments):
        raise PermissionError("no links")

    answer = refuse if failing == "link" else lambda *arguments: False
    monkeypatch.setattr(os, failing, answer)
    with pinned(config) as reading:
        assert reading == config


def test_missing_records_and_missing_files_are_left_to_the_reader(config):
    shutil.rmtree(os.path.join(config.data.records, "val"))
    with pinned(config) as reading:
        assert reading == config
    train = os.path.join(config.data.records, "train")
    os.unlink(next(os.path.join(train, n) for n in os.listdir(train) if "-000" in n))
    with pinned(config, ["train"]) as reading:
        with pytest.raises(UserError, match="is missing"):
            images(reading)
