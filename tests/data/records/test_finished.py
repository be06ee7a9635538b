"""A finished shard is kept if, and only if, converting again would make the same."""

import dataclasses
import os

import numpy as np
import pytest
from helpers import CLASSES, make_folder_tree

from gcnet_tf.data.catalog import dataset_facts, remapped
from gcnet_tf.data.records.finished import NOTE, fingerprint, read_note, write_note
from gcnet_tf.data.records.manifest import Shard
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.files.checksum import file_sha256

FACTS = dataset_facts("folder", CLASSES)


@pytest.fixture
def pairs(tmp_path):
    return find_pairs("folder", make_folder_tree(tmp_path / "source"), "train")


def touch(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def test_the_fingerprint_of_the_same_sources_is_the_same(pairs):
    assert fingerprint(pairs, FACTS) == fingerprint(list(pairs), FACTS)
    own = [dataclasses.replace(pair, facts=FACTS) for pair in pairs]
    assert fingerprint(own, dataset_facts("shapes")) == fingerprint(pairs, FACTS)


@pytest.mark.parametrize(
    "change",
    [
        lambda pairs: (pairs, dataset_facts("folder", ("a", "b", "c"))),
        lambda pairs: (pairs, remapped(FACTS, [(2, 1)], "")),
        lambda pairs: (pairs, dataclasses.replace(FACTS, label_colours=((0, 0, 0),))),
        lambda pairs: (pairs[:-1], FACTS),
        lambda pairs: (pairs[::-1], FACTS),
        lambda pairs: ([dataclasses.replace(p, name="x") for p in pairs], FACTS),
        lambda pairs: touch(pairs[1].image) or (pairs, FACTS),
        lambda pairs: touch(pairs[1].label) or (pairs, FACTS),
        lambda pairs: pairs[0].image.write_bytes(b"") and None or (pairs, FACTS),
    ],
)
def test_the_fingerprint_changes_with_the_sources(pairs, change):
    before = fingerprint(pairs, FACTS)
    assert fingerprint(*change(pairs)) != before


@pytest.fixture
def shard(tmp_path):
    """Path of a shard whose note has the fingerprint "abc"."""
    path = tmp_path / "train-0.tfrecord"
    path.write_bytes(b"records")
    shard = Shard(path.name, 3, 7, file_sha256(path))
    write_note(path, "abc", shard, np.arange(256))
    return path


def test_a_note_is_read_back(shard):
    entry, histogram = read_note(shard, "abc")
    assert (entry.file, entry.num_samples, entry.num_bytes) == (shard.name, 3, 7)
    assert histogram.dtype == np.int64 and np.array_equal(histogram, np.arange(256))


def test_a_note_of_other_sources_does_not_count(shard):
    assert read_note(shard, "abd") is None


@pytest.mark.parametrize("file_bytes", [b"recordz", b"record", None])
def test_a_changed_shard_does_not_count(shard, file_bytes):
    shard.unlink() if file_bytes is None else shard.write_bytes(file_bytes)
    assert read_note(shard, "abc") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shard": {"file": 1}}', None])
def test_a_damaged_note_does_not_count(shard, text):
    note = shard.with_name(shard.name + NOTE)
    note.unlink() if text is None else note.write_text(text)
    assert read_note(shard, "abc") is None
