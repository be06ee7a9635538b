"""The manifest: its packed segments, and the table that a conversion prints of it."""

import base64
import dataclasses
import json
import struct
import tracemalloc

import pytest

from gcnet_tf.data.records.manifest import (
    Manifest,
    Shard,
    absent_classes,
    packed_segments,
    pixel_table,
    read_manifest,
    write_manifest,
)
from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import sealed


def manifest(split, histogram, num_ignored):
    return Manifest(
        dataset="folder",
        split=split,
        classes=("ground", "tree"),
        num_samples=1,
        class_histogram=histogram,
        num_ignored_pixels=num_ignored,
        shards=(),
    )


def test_pixel_table():
    text = pixel_table([manifest("train", (3, 1), 4), manifest("val", (0, 2), 0)])
    assert text.splitlines() == [
        "class              train       val",
        "ground            37.50%     0.00%",
        "tree              12.50%   100.00%",
        "(not labelled)    50.00%     0.00%",
    ]


def test_absent_classes():
    assert absent_classes(manifest("val", (0, 2), 0)) == ["ground"]
    assert absent_classes(manifest("val", (1, 2), 0)) == []


def shards(segments, number=1):
    """Returns some shards with the same segments."""
    shard = Shard("0", *map(sum, zip(*segments)), "", packed_segments(segments))
    return tuple(dataclasses.replace(shard, file=f"{i}") for i in range(number))


def test_segments_are_pairs_of_integers_in_base64():
    (shard,) = shards([(3, 30), (1, 2**32 - 1)])
    numbers = struct.unpack("<4I", base64.b64decode(shard.segments))
    assert numbers == (3, 30, 1, 2**32 - 1)
    assert shard.segment_table().tolist() == [[3, 30], [1, 2**32 - 1]]
    assert Shard("0", 4, 40, "").segment_table().shape == (0, 2)


@pytest.mark.parametrize(
    "segments",
    [
        *([[4, 40, 0]], [[4, 40], [0]], [[-1, 0], [5, 40]], [[4, 2**32 + 40]]),
        *([[4, 2**80]], [["4", "40"]], [4, 40], 4, None, [[3, 40]]),
        # Not base64; three bytes; one number; ids of a text.
        *("AA=A", "AAAA", "BAAAAA==", "\u00e9"),
    ],
)
def test_segments_that_are_none_are_damage(tmp_path, segments):
    made = dataclasses.replace(manifest("train", (1,), 0), shards=shards([(4, 40)]))
    (tmp_path / "train").mkdir()
    write_manifest(made, tmp_path / "train")
    assert read_manifest(tmp_path, "train", check_files=False) == made
    fields = dataclasses.asdict(made)
    fields["shards"][0]["segments"] = segments
    (tmp_path / "train" / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"manifest\.json is damaged .*--overwrite"):
        read_manifest(tmp_path, "train", check_files=False)


def test_lists_of_older_versions_are_read(tmp_path):
    made = dataclasses.replace(
        manifest("train", (1,), 0), shards=shards([(3, 30), (1, 10)], 2)
    )
    fields = dataclasses.asdict(made)
    for shard in fields["shards"]:
        shard["segments"] = [[3, 30], [1, 10]]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "manifest.json").write_text(json.dumps(sealed(fields)))
    assert read_manifest(tmp_path, "train", check_files=False) == made


def test_a_million_segments_take_little_memory(tmp_path):
    """Ten million samples of 128 kB have so many."""
    segments = [(8, 2**20 + number) for number in range(1250)]
    made = dataclasses.replace(
        manifest("train", (1,), 0), shards=shards(segments, 1000)
    )
    (tmp_path / "train").mkdir()
    write_manifest(made, tmp_path / "train")
    assert (tmp_path / "train" / "manifest.json").stat().st_size < 20e6
    del made
    tracemalloc.start()
    read = read_manifest(tmp_path, "train", check_files=False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.shards) == 1000
    # What is kept is the text as well, by which the next reading is saved.
    assert kept < 40 * 1.25e6 and peak < 100 * 1.25e6
