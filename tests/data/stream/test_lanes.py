"""The order of samples: the same for any number of workers, and nothing left out."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.records.manifest import Manifest, Shard
from gcnet_tf.data.stream.lanes import Share, numbered_records, split_records


@pytest.fixture(scope="module", params=[1, 8], ids="{} shards".format)
def split(request, tmp_path_factory):
    """19 records, which say their place in the split, in so many shards."""
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
    """{number: record} of a share of these batches."""
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
    found = stream(split, batch_size, -(-3 * 19 // batch_size))
    epochs = [[found[19 * epoch + place] for place in range(19)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(19))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("batch_size, number", [(4, 2), (12, 4)])
def test_workers_together_see_what_one_sees(split, batch_size, number):
    """Also where lanes and shares do not fit: of 12 slots, 6 lanes have 2 each."""
    together = {}
    for index in range(number):
        together |= stream(split, batch_size, 5, share=Share(index, number))
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


def test_a_worker_opens_its_own_shards_alone(split, monkeypatch):
    """Half of the batch needs half of the shards, and the one that the border cuts."""
    opened = []
    original = tf.data.TFRecordDataset

    def spy(paths, **options):
        paths = tf.convert_to_tensor(paths)

        def note(paths):
            opened.append(len(paths))
            return paths

        return original(tf.numpy_function(note, [paths], tf.string), **options)

    monkeypatch.setattr("gcnet_tf.data.stream.lanes.tf.data.TFRecordDataset", spy)
    # So many of a batch that the first epoch is not yet over.
    stream(split, 4, 4, share=Share(0, 2))
    num_shards = len(split.manifest.shards)
    assert sum(opened) <= num_shards // 2 + (2 if num_shards > 1 else 1)


@pytest.mark.parametrize("number", [1, 2, 5, 25])
def test_a_split_is_shared_out_in_order(split, number):
    parts = [
        [
            int(text.numpy())
            for text in split_records(split.folder, split.manifest, share)
        ]
        for share in (Share(index, number) for index in range(number))
    ]
    assert sum(parts, []) == list(range(19))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
