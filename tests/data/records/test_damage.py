"""Damaged records are found, named and replaced, and no other sample moves."""

import dataclasses
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from helpers import CLASSES, make_folder_tree

from gcnet_tf.config import config_from_dict
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.damage import (
    READ_ERRORS,
    Damage,
    DamagedData,
    check_sizes,
    find_damage,
    name_of,
    try_decoding,
)
from gcnet_tf.data.records.repair import Repair, repaired
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.data.stream import lanes
from gcnet_tf.data.stream.pipeline import evaluation_samples, training_dataset
from gcnet_tf.errors import UserError


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_folder_tree(tmp_path_factory.mktemp("tree"), num_train=20, num_val=9)


@pytest.mark.parametrize("record", [b"\xd4\x05\xff", b"\n\x05" + b"\xd4" * 5, b""])
def test_a_record_that_is_no_example(record):
    """TensorFlow quotes it, and may fail to decode its own message."""
    _, reason = try_decoding((record, ""))
    assert reason.startswith("it cannot be decoded: ")
    assert name_of(record) == ""


@pytest.fixture
def config(source, tmp_path):
    """Records of 20 and 9 images, which tests damage; a shard has two or three."""
    raw = {
        "data": {
            "dataset": "folder",
            "root": str(source),
            "records": str(tmp_path / "records"),
            "classes": list(CLASSES),
            "on_error": "skip",
        },
        "augment": {
            "crop_size": [16, 16],
            "base_scale": [32, 32],
            "photometric_distortion": False,
        },
        "train": {"batch_size": 4},
    }
    config = config_from_dict(raw)
    ensure_records(config)
    return config


def shard_of(config, split="train", number=0):
    shard = read_manifest(config.data.records, split, check_files=False).shards[number]
    return shard, config.data.records + f"/{split}/{shard.file}"


def frames(path):
    """Returns start and length of the data of each record."""
    with open(path, "rb") as file:
        file_bytes = file.read()
    spans, position = [], 0
    while position < len(file_bytes):
        (length,) = struct.unpack_from("<Q", file_bytes, position)
        spans.append((position + 12, length))
        position += length + 16
    return spans


def flip(path, position):
    """Flips a bit of the byte at a position."""
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def cut(path, length):
    with open(path, "r+b") as file:
        file.truncate(length)


def names_in(config, split="train", number=0):
    _, path = shard_of(config, split, number)
    records = tf.data.TFRecordDataset(path).as_numpy_iterator()
    return [
        tf.train.Example.FromString(r).features.feature["name"].bytes_list.value[0]
        for r in records
    ]


def test_intact_records_have_no_damage(config):
    assert find_damage(config, "train") == find_damage(config, "val") == []
    check_sizes(config, "train")


def test_the_search_copies_no_file(config, monkeypatch):
    """A shard has 128 MiB, and the folder of temporary files may have less."""

    def refuse(*arguments, **options):
        raise OSError("no space left")

    _, path = shard_of(config)
    flip(path, frames(path)[1][0])
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert len(find_damage(config, "train")) == 1


def test_a_flipped_byte_is_named(config):
    shard, path = shard_of(config)
    names = names_in(config)
    start, length = frames(path)[1]
    flip(path, start + length // 2)
    (damage,) = find_damage(config, "train")
    assert (damage.file, damage.index) == (shard.file, 1)
    assert damage.name == names[1].decode()
    assert "checksum" in damage.reason
    text = str(DamagedData([damage]))
    assert f"1 damaged sample: {shard.file}, record 1 ({damage.name})" in text
    assert "--overwrite" in text and "data.on_error=skip" in text


@pytest.mark.parametrize("place, lost", [(0, [1, 2]), (9, [1, 2]), (-2, [1])])
def test_length_and_checksums_are_checked_too(place, lost, config):
    """A wrong length also loses the next records, because their start is unknown."""
    _, path = shard_of(config)
    start, length = frames(path)[1]
    flip(path, start - 12 + place if place >= 0 else start + length + 4 + place)
    assert [damage.index for damage in find_damage(config, "train")] == lost


def test_an_intact_record_without_an_image_is_named(config):
    shard, path = shard_of(config)
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    example = tf.train.Example.FromString(records[2])
    example.features.feature["image"].bytes_list.value[0] = b"no image"
    with tf.io.TFRecordWriter(path) as writer:
        for record in [*records[:2], example.SerializeToString()]:
            writer.write(record)
    (damage,) = find_damage(config, "train")
    assert damage.index == 2 and "cannot be decoded" in damage.reason
    assert damage.name == names_in(config)[2].decode()


@pytest.mark.parametrize("where", ["inside", "between", "empty", "gone"])
def test_a_cut_file_is_noticed_and_its_lost_samples_counted(where, config, tmp_path):
    shard, path = shard_of(config)
    start = frames(path)[1][0]
    if where == "gone":
        (tmp_path / "records/train" / shard.file).unlink()
    else:
        cut(path, {"inside": start + 5, "between": start - 12, "empty": 0}[where])
    with pytest.raises(READ_ERRORS):
        check_sizes(config, "train")
    damaged = find_damage(config, "train")
    lost = [1, 2] if where in ("inside", "between") else [0, 1, 2]
    assert [damage.index for damage in damaged] == lost
    assert {damage.file for damage in damaged} == {shard.file}
    # With "stop", no record is read at all.
    stop = dataclasses.replace(config.data, on_error="stop")
    with pytest.raises(UserError, match=f"{shard.file}.*--overwrite"):
        ensure_records(dataclasses.replace(config, data=stop))


def first_batches(config, num_batches=10, start=0):
    dataset = training_dataset(config, start).take(num_batches)
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("window", [lanes.SHUFFLE_BUFFER_BYTES, 2**10])
def test_only_the_damaged_sample_is_replaced(config, tmp_path, monkeypatch, window):
    """The others keep their places, also where segments are read in any order."""
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", window)
    before = first_batches(config)
    names = names_in(config)
    _, path = shard_of(config)
    start, length = frames(path)[1]
    flip(path, start + length // 2)
    with pytest.raises(READ_ERRORS):
        first_batches(config)
    damaged = find_damage(config, "train")
    now = repaired(config, "train", damaged, tmp_path / "repaired")
    after = first_batches(now)
    num_replaced = 0
    for old, new in zip(before, after, strict=True):
        for i, name in enumerate(old["name"]):
            if name == names[1]:
                num_replaced += 1
                assert new["name"][i] == names[2]
            else:
                assert new["name"][i] == name
                np.testing.assert_array_equal(new["image"][i], old["image"][i])
    assert num_replaced == 2  # two epochs
    # A stream that starts in the middle has the same batches.
    for late, batch in zip(first_batches(now, 3, start=7), after[7:], strict=True):
        np.testing.assert_array_equal(late["image"], batch["image"])
    assert find_damage(now, "train") == []


def test_a_file_without_an_intact_sample_borrows_from_the_next(config, tmp_path):
    shard, path = shard_of(config)
    cut(path, 0)
    damaged = find_damage(config, "train")
    now = repaired(config, "train", damaged, tmp_path / "repaired")
    assert set(names_in(now)) == {names_in(config, number=1)[0]}
    assert len(names_in(now)) == shard.num_samples


def test_a_damaged_val_sample_counts_nowhere(config, tmp_path):
    before = list(evaluation_samples(config))
    shard, path = shard_of(config, "val")
    flip(path, frames(path)[0][0] + 200)
    damaged = find_damage(config, "val")
    now = repaired(config, "val", damaged, tmp_path / "repaired")
    after = list(evaluation_samples(now))
    assert np.all(after[0]["label"] == 255)
    assert after[0]["name"] == before[0]["name"]
    for old, new in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(new["image"], old["image"])
        np.testing.assert_array_equal(new["label"], old["label"])


def test_records_without_an_intact_sample_are_an_error(config, tmp_path):
    for number in range(8):
        cut(shard_of(config, number=number)[1], 0)
    damaged = find_damage(config, "train")
    assert len(damaged) == 20
    with pytest.raises(UserError, match="No sample"):
        repaired(config, "train", damaged, tmp_path / "repaired")
    text = str(DamagedData(damaged))
    assert "20 damaged samples" in text and " and 15 more" in text


def test_damage_is_json():
    damage = Damage("a.tfrecord", 1, "name", "reason")
    assert json.loads(json.dumps(dataclasses.asdict(damage)))["index"] == 1


READ_ERROR = tf.errors.DataLossError(None, None, "corrupted record")


def report_of(damaged):
    """The report of a worker that has met these samples."""
    samples = [dataclasses.asdict(damage) for damage in damaged]
    return {"damaged": samples, "error": "corrupted record"}


@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_damage_of_another_worker_is_repaired_here_without_a_search(
    on_error, config, monkeypatch
):
    """The other worker has a damaged copy; the records of this one are intact."""
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, on_error=on_error)
    )
    shard, _ = shard_of(config)
    names = names_in(config)
    damage = Damage(shard.file, 1, names[1].decode(), "its checksum is wrong")
    told = []

    def search(*arguments):
        raise AssertionError("another worker has searched")

    monkeypatch.setattr("gcnet_tf.data.records.repair.find_damage", search)
    reports = {"answer": [None, report_of([damage])]}
    with Repair(config, "train", told.extend, lambda own: reports["answer"]) as repair:
        if on_error == "stop":
            with pytest.raises(DamagedData, match=r"wrong \(found by worker 1\)"):
                repair.needed(None)
        else:
            assert repair.needed(None)
            assert names_in(repair.config)[1:] == [names[2], *names[2:]]
            # The same damage once more is an error, and no endless loop.
            with pytest.raises(UserError, match="worker 1 cannot read .* of train"):
                repair.needed(None)
            reports["answer"] = [None, None]
            assert not repair.needed(None)
    (found,) = told
    assert (found.file, found.index, found.name) == (shard.file, 1, damage.name)


def test_damage_of_several_workers_is_merged(config, tmp_path):
    _, path = shard_of(config)
    start, length = frames(path)[1]
    flip(path, start + length // 2)
    other = Damage(shard_of(config, number=1)[0].file, 0, "name", "reason")
    with Repair(
        config, "train", lambda damaged: None, lambda own: [own, report_of([other])]
    ) as repair:
        assert repair.needed(READ_ERROR)
        assert [(damage.file, damage.index) for damage in repair.damaged] == [
            (shard_of(config)[0].file, 1),
            (other.file, 0),
        ]


def test_an_error_without_damage_is_raised(config, capsys):
    with Repair(config, "train") as repair, pytest.raises(tf.errors.DataLossError):
        repair.needed(READ_ERROR)
    assert (
        "A record of train cannot be read: checking all 20" in capsys.readouterr().err
    )
