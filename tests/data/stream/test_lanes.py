"""The order of samples: the same for any number of workers, and complete."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.records.shards import _deal_out, write_shard
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.data.stream import lanes
from gcnet_tf.data.stream.lanes import Share, numbered_records, split_records


def write_split(folder, num_records, num_shards, segment_length=None):
    """Writes records that hold their places in the split."""
    shards = []
    for number, places in enumerate(np.array_split(range(num_records), num_shards)):
        records = [b"%d" % place for place in places]
        length = segment_length or len(places)
        lengths = [len(places[i : i + length]) for i in range(0, len(places), length)]
        shard = write_shard(folder / f"{number}", records, lengths)
        shards.append(shard if segment_length else replace(shard, segments=""))
    counts = (num_records, (), 0)
    manifest = Manifest("folder", "train", (), *counts, tuple(shards))
    return SimpleNamespace(folder=folder, manifest=manifest)


@pytest.fixture(
    params=[(1, None), (8, None), (3, 2), (8, 1)],
    ids="{0[0]} shards, segments of {0[1]}".format,
)
def split(request, tmp_path, monkeypatch):
    """A split of 19 records in some shards; segments matter where it does not fit."""
    num_shards, length = request.param
    if length:
        monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 100)
    made = write_split(tmp_path, 19, num_shards, length)
    window = lanes.window_of(made.manifest)
    assert window < 19 if length else window == 19
    return made


def stream(split, batch_size, iterations, *, start=0, share=Share(), seed=0):
    """Returns {number: record} of a share of some batches."""
    dataset = numbered_records(
        split.folder, split.manifest, seed, batch_size, start, share
    )
    first, end = share.of(batch_size)
    dataset = dataset.take((end - first) * iterations)
    pairs = [(int(number), int(text)) for number, text in dataset.as_numpy_iterator()]
    assert [number for number, _ in pairs] == [
        batch * batch_size + slot
        for batch in range(start, start + iterations)
        for slot in range(first, end)
    ]
    return dict(pairs)


@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_every_epoch_has_every_record_once_in_another_order(split, batch_size):
    records = stream(split, batch_size, -(-3 * 19 // batch_size))
    epochs = [
        [records[19 * epoch + place] for place in range(19)] for epoch in range(3)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(19))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("batch_size, num_workers", [(4, 2), (12, 4)])
def test_workers_together_get_the_batches_of_a_single_one(
    split, batch_size, num_workers
):
    """Shares need not be whole lanes: of 12 slots, 6 lanes have 2 each, 4 workers 3."""
    together = {}
    for index in range(num_workers):
        together |= stream(split, batch_size, 5, share=Share(index, num_workers))
    assert together == stream(split, batch_size, 5)


@pytest.mark.parametrize("share", [Share(), Share(1, 2)])
def test_a_later_start_goes_on(split, share):
    whole = stream(split, 6, 9, share=share)
    for start in (1, 4, 7):
        later = stream(split, 6, 9 - start, start=start, share=share)
        assert later == {number: whole[number] for number in later}


def test_the_seed_decides(split):
    first, again, other = (stream(split, 6, 3, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.fixture
def opened(monkeypatch):
    """Files of the pieces that are opened, in that order."""
    opened, original = [], lanes.records_from

    def spy(path, *arguments):
        def note(path):
            opened.append(path)
            return path

        return original(tf.numpy_function(note, [path], tf.string), *arguments)

    monkeypatch.setattr(lanes, "records_from", spy)
    return opened


def test_a_worker_reads_only_its_own_pieces(split, opened):
    """Half of the batch needs half of the pieces, and the piece at the border."""
    # A single batch, because the lanes read on, into the next epoch.
    stream(split, 4, 1, share=Share(0, 2))
    shards = split.manifest.shards
    num_pieces = sum(max(len(shard.segment_table()), 1) for shard in shards)
    assert 0 < len(opened) <= num_pieces // 2 + (2 if num_pieces > 1 else 1)


def test_a_resumed_run_does_not_read_the_epoch_again(tmp_path, monkeypatch, opened):
    """In a window of 40, 1500 of 2000 records were given, and a few hundred read."""
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 640)
    split = write_split(tmp_path, 2000, 4, 5)
    assert lanes.window_of(split.manifest) == 40
    later = stream(split, 4, 125, start=375)
    num_read = 5 * len(opened)
    whole = stream(split, 4, 500)
    assert later == {number: whole[number] for number in later}
    # What is left, and as much as eight windows before it; and of the next epoch, what
    # four lanes hold in their buffers.
    assert 500 <= num_read <= 500 + 8 * 40 + 2 * 40


def test_the_order_is_that_of_earlier_versions(tmp_path, monkeypatch):
    """A run that an earlier version began goes on with the same batches."""
    orders = {
        2**28: [8, 13, 6, 1, 10, 15, 7, 3],
        100: [2, 9, 10, 3, 1, 13, 11, 6],
    }
    for size, expected in orders.items():
        (tmp_path / str(size)).mkdir()
        monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", size)
        split = write_split(tmp_path / str(size), 19, 5, 1)
        assert list(stream(split, 4, 2, start=5, seed=3).values()) == expected


def neighbours_apart(order):
    """Returns the mean distance of records that follow each other in `order`'s ids."""
    return np.abs(np.diff(np.argsort(order))).mean()


def test_shuffling_is_as_good_as_a_perfect_one(tmp_path, monkeypatch):
    """Large images: a window of 16 in a lane, and a segment for each record.

    Two numbers of a random order of n are n / 3 apart in the mean. So are neighbours in
    the files, and neighbours of the epoch before.
    """
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 2**10)
    split = write_split(tmp_path, 600, 12, 1)
    assert 16 <= lanes.window_of(split.manifest) <= 64
    numbered = stream(split, 4, 2 * 600 // 4)
    orders = np.reshape([numbered[number] for number in sorted(numbered)], (2, 600))
    for order in orders:
        assert neighbours_apart(order) == pytest.approx(200, rel=0.15)
    second_by_first = np.argsort(orders[1])[orders[0]]
    assert np.abs(np.diff(second_by_first)).mean() == pytest.approx(200, rel=0.15)


def test_neighbours_in_a_segment_are_a_window_apart(tmp_path, monkeypatch):
    """Small images: ten in a segment, which a window of 64 takes apart.

    In a shuffle buffer of n, two records that enter together leave n apart in the mean;
    so they do at the window's size, for all lanes take turns.
    """
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 2**10)
    split = write_split(tmp_path, 2400, 12, 10)
    window = lanes.window_of(split.manifest)
    assert window == 64
    order = list(stream(split, 4, 600).values())
    apart = np.abs(np.diff(np.argsort(order)))
    is_inside = np.arange(1, 2400) % 10 > 0
    assert 0.75 * window <= apart[is_inside].mean() <= 1.5 * window
    assert apart[~is_inside].mean() == pytest.approx(800, rel=0.15)


def test_a_sorted_source_is_shuffled_perfectly(tmp_path, monkeypatch):
    """Images of a city have names that follow each other; a conversion mixes them."""
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 2**10)
    split = write_split(tmp_path, 2400, 12, 10)
    names = [f"{city}/{number:03d}" for city in "abcdef" for number in range(400)]
    pairs = [Pair(name, Path(__file__), Path(__file__)) for name in names]
    size = 2 * Path(__file__).stat().st_size
    dealt = _deal_out(pairs, shard_bytes=200 * size)
    assert [len(shard) for shard in dealt] == [200] * 12
    converted = [names.index(pair.name) for shard in dealt for pair in shard]
    order = [converted[place] for place in stream(split, 4, 600).values()]
    assert neighbours_apart(order) == pytest.approx(800, rel=0.05)
    # And no city is rare anywhere: 400 of its images are in every sixth place or so.
    cities = np.reshape(order, (12, 200)) // 400
    counts = np.array([np.bincount(part, minlength=6) for part in cities])
    assert counts.sum(axis=0).tolist() == [400] * 6
    assert 15 <= counts.min() and counts.max() <= 55


def test_the_text_about_shuffling(tmp_path, monkeypatch):
    split = write_split(tmp_path, 20, 4, 1)
    text = "Shuffles all 20 training samples in every epoch."
    assert lanes.shuffle_text(split.manifest) == text
    monkeypatch.setattr(lanes, "SHUFFLE_BUFFER_BYTES", 2**6)
    assert "20 pieces of the training records" in lanes.shuffle_text(split.manifest)
    assert " of 20 samples at a time" in lanes.shuffle_text(split.manifest)


@pytest.mark.parametrize("num_workers", [1, 2, 5, 25])
def test_a_split_is_shared_out_in_order(split, num_workers):
    parts = [
        [
            int(text.numpy())
            for text in split_records(split.folder, split.manifest, share)
        ]
        for share in (Share(index, num_workers) for index in range(num_workers))
    ]
    assert sum(parts, []) == list(range(19))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
