"""The order of samples: the same for any number of workers, and complete."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.records.manifest import Manifest, Shard
from gcnet_tf.data.stream.lanes import Share, numbered_records, split_records


@pytest.fixture(scope="module", params=[1, 8], ids="{} shards".format)
def split(request, tmp_path_factory):
    """A split of 19 records in some shards; a record holds its place in the split."""
    folder = tmp_path_factory.mktemp("records")
    shards, places = [], iter(range(19))
    for number, length in enumerate(map(len, np.array_split(range(19), request.param))):
        with tf.io.TFRecordWriter(str(folder / f"{number}")) as writer:
            for place in itertools.islice(places, length):
                writer.write(b"%d" % place)
        shards.append(Shard(f"{number}", length, 10 * length, ""))
    manifest = Manifest("folder", "train", (), 19, (), 0, tuple(shards))
    return SimpleNamespace(folder=folder, manifest=manifest)


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


def test_a_worker_opens_only_its_own_shards(split, monkeypatch):
    """Half of the batch needs half of the shards, and the shard at the border."""
    opened = []
    original = tf.data.TFRecordDataset

    def spy(paths, **options):
        paths = tf.convert_to_tensor(paths)

        def note(paths):
            opened.append(len(paths))
            return paths

        return original(tf.numpy_function(note, [paths], tf.string), **options)

    monkeypatch.setattr("gcnet_tf.data.stream.lanes.tf.data.TFRecordDataset", spy)
    # So few iterations that the first epoch is not yet over.
    stream(split, 4, 4, share=Share(0, 2))
    num_shards = len(split.manifest.shards)
    assert sum(opened) <= num_shards // 2 + (2 if num_shards > 1 else 1)


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
