"""Ten million pairs fit the memory; measured on folders that exist in name only."""

import os
import sys
import tracemalloc

import numpy as np
import pytest
from helpers import CLASSES

from gcnet_tf.config import config_from_dict
from gcnet_tf.data import compact
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.check.findings import Findings, Item
from gcnet_tf.data.check.looks import Look, Looks
from gcnet_tf.data.records.finished import fingerprint
from gcnet_tf.data.records.shards import _deal_out
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.listing import listed_pairs

NUMBER = 20_000
# Ten million pairs are to take less than 1 GB, TensorFlow's own 450 MB included.
MOST_BYTES = 50
# Bytes of the parts that are unpacked at a time, which do not grow with the number.
UNPACKED = 2**20


class Entry:
    """A file that exists in name only."""

    def __init__(self, folder, name):
        self.name, self._path = name, f"{folder}/{name}"

    def __fspath__(self):
        return self._path

    def is_dir(self):
        return False

    is_symlink = is_dir


class Entries:
    def __init__(self, folder, names):
        self._entries = (Entry(folder, name) for name in names)

    def __enter__(self):
        return self._entries

    def __exit__(self, *_):
        self._entries.close()


def mixed_numbers():
    """Yields the numbers below NUMBER in another order, as a file system does."""
    return (number * 7919 % NUMBER for number in range(NUMBER))


def of_cities(kind, *endings):
    for number in mixed_numbers():
        for ending in endings:
            yield f"bad-honnef_{number:06d}_000019_{kind}{ending}"


def named(*endings):
    for number in mixed_numbers():
        for ending in endings:
            yield f"ADE_train_{number:08d}{ending}"


# The folders of each layout, and functions that list their files.
LAYOUTS = {
    "ade20k": {
        "images/training": lambda: named(".jpg"),
        "annotations/training": lambda: named(".png"),
    },
    "folder": {
        "train/images": lambda: named(".jpg"),
        "train/labels": lambda: named("_mask.png"),
    },
    "beside": {"train": lambda: named(".jpg", "_mask.png")},
    "cityscapes": {
        "leftImg8bit/train/bad-honnef": lambda: of_cities("leftImg8bit", ".png"),
        "gtFine/train/bad-honnef": lambda: of_cities(
            "gtFine", "_labelTrainIds.png", "_color.png", "_polygons.json"
        ),
    },
}


@pytest.fixture
def traced(monkeypatch):
    """Measures the bytes a pair that are kept, and that were taken at most."""
    monkeypatch.setattr(compact, "_RUN", 2**10)
    # Parts of paths are interned, and the table of all interned texts is enlarged now
    # and then, by megabytes that say nothing about the pairs.
    monkeypatch.setattr(sys, "intern", str)

    def bytes_a_pair():
        kept, most = tracemalloc.get_traced_memory()
        return kept / NUMBER, (most - UNPACKED) / NUMBER

    tracemalloc.start()
    yield bytes_a_pair
    tracemalloc.stop()


@pytest.fixture
def data_of(tmp_path, monkeypatch):
    """Function from a layout to the settings of its folder of many names."""

    def make(layout):
        folders = LAYOUTS[layout]
        for folder in folders:
            (tmp_path / folder).mkdir(parents=True)
        scandir = os.scandir

        def listed(path):
            name = os.path.relpath(path, tmp_path)
            return Entries(path, folders[name]()) if name in folders else scandir(path)

        monkeypatch.setattr(os, "scandir", listed)
        data = {"dataset": layout, "root": str(tmp_path), "allow_partial": True}
        if layout in ("folder", "beside"):
            data["classes"] = list(CLASSES)
        return config_from_dict({"data": {**data, "records": str(tmp_path / "r")}}).data

    return make


@pytest.mark.parametrize("layout", LAYOUTS)
def test_listing_takes_few_bytes_a_pair(layout, data_of, traced):
    data = data_of(layout)
    pairs = find_samples(data, "train")
    kept, most = traced()
    assert kept < 25 and most < MOST_BYTES
    # data.val_share divides the two that may lack a folder val.
    share = 0.8 if layout in ("folder", "beside") else 1
    assert len(pairs) == share * NUMBER
    last = pairs[-1]
    assert last.name in str(last.image) and last.name in str(last.label)


def test_dealing_out_takes_few_bytes_a_pair(data_of, traced, monkeypatch):
    data = data_of("ade20k")
    size = os.stat_result((0o100644, *[1] * 9))
    pairs = find_samples(data, "train")
    monkeypatch.setattr("pathlib.Path.stat", lambda path, **_: size)
    shards = _deal_out(pairs, 2**40)
    assert traced()[1] < MOST_BYTES
    assert sum(map(len, shards)) == NUMBER
    tracemalloc.reset_peak()
    before, _ = traced()
    assert len(fingerprint(pairs, facts_of(data))) == 64
    assert traced()[1] - before < 5


def test_lists_take_few_bytes_a_pair(tmp_path, traced, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: True)
    for kind, ending in (("images", ".jpg"), ("labels", ".png")):
        with (tmp_path / f"{kind}.txt").open("w") as file:
            file.writelines(f"{kind}/{name}\n" for name in named(ending))
    pairs = listed_pairs(tmp_path / "images.txt", tmp_path / "labels.txt")
    assert len(pairs) == NUMBER and traced()[1] < MOST_BYTES


def test_looks_and_findings_take_few_bytes_a_pair(data_of, traced):
    pairs = find_samples(data_of("ade20k"), "train")
    looks, found = Looks({"train": pairs, "val": pairs}, 150), Findings()
    rng = np.random.default_rng(0)
    tracemalloc.reset_peak()
    before = traced()[0]
    for number, digest in enumerate(rng.bytes(10) for _ in range(2 * NUMBER)):
        split = "train" if number < NUMBER else "val"
        counts = {number % 150: 3, (number + 1) % 150: 2}
        looks.add(split, Look((512, 683), counts, digest, ()))
        where = f"/data/images/training/ADE_train_{number % NUMBER:08d}.jpg"
        found.add([("converted_image", Item(where, "grey"))])
    found.add(problem for problem in looks.in_two_splits())
    items = found.by_kind()
    # Two looks a pair here, and two findings.
    assert (traced()[1] - before) / 2 < MOST_BYTES
    assert len(items["converted_image"]) == 2 * NUMBER
    assert len(items["same_name"]) == NUMBER and "same_content" not in items
