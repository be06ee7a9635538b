"""Measurements of `benchmark.py large`; the speed itself is not tested."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.large import records, shuffling, starting
from gcnet_tf.config import load_config
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.records.shards import _deal_out
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.data.stream.pipeline import training_dataset


def made(folder, *sizes, linked=False):
    """Writes records, and returns their configuration and manifest."""
    place = f"data.records={folder}"
    config = load_config("shapes_r18", [*starting.SETTINGS, place])
    records.write_splits(config, *sizes, linked)
    return config, read_manifest(folder, "train")


@pytest.mark.parametrize("linked", [False, True])
def test_the_records_can_be_trained_on(tmp_path, linked):
    config, manifest = made(tmp_path, 70, 8, 1000, linked=linked)
    sizes = [shard.num_bytes / shard.num_samples for shard in manifest.shards]
    assert 1000 <= min(sizes) <= max(sizes) <= 1100
    stream = training_dataset(config).unbatch().take(70)
    names = [sample["name"] for sample in stream.as_numpy_iterator()]
    # Files of 8 samples and of 9 samples, one of each is written.
    assert len(set(names)) == (17 if linked else 70)


def test_the_distances_after_shuffles_that_are_known():
    line = np.arange(40_000)
    assert shuffling.distances(line, line, 16) == (1, 1, 37_500 / 39_999)
    backwards = shuffling.distances(line[::-1].copy(), line, 16)
    assert backwards == (1, 1, 37_500 / 39_999)
    drawn = np.random.default_rng(0).permutation(40_000)
    found = shuffling.distances(drawn, line, 16)
    expected = shuffling.perfect(40_000, 16)
    assert found.mean == pytest.approx(expected.mean, rel=0.02)
    assert found.nearest == pytest.approx(expected.nearest, rel=0.1)
    assert found.together == pytest.approx(expected.together, abs=4e-4)
    # Neighbours of the same shuffle are neighbours.
    assert shuffling.distances(drawn, drawn, 16).mean == 1


def test_an_epoch_is_that_of_the_data_in_question(tmp_path):
    _, manifest = made(tmp_path / "records", 4000, 10, 30_000, linked=True)
    part = shuffling.beginning(manifest, 2100)
    assert (part.num_samples, len(part.shards)) == (2000, 5)
    per_segment = manifest.shards[0].segment_table()[0, 0]
    assert per_segment == pytest.approx(2**20 / 30_000, rel=0.1)
    order = shuffling.epoch_order(tmp_path / "numbers", part, 100, 16)
    assert sorted(order) == list(range(2000))
    found = shuffling.distances(order, np.arange(2000), 16)
    # Inside a segment, neighbours are a window apart.
    assert 75 <= found.mean <= 200
    whole = shuffling.distances(order, shuffling.source_order(part), 16)
    assert whole.mean == pytest.approx(2000 / 3, rel=0.05)


def test_a_source_is_dealt_as_a_conversion_deals_it(tmp_path):
    _, manifest = made(tmp_path, 90, 9, 1)
    names = [f"city/{number:08d}" for number in range(90)]
    pairs = [Pair(name, Path(__file__), Path(__file__)) for name in names]
    size = 2 * Path(__file__).stat().st_size
    dealt = [pair.name for shard in _deal_out(pairs, 10 * size) for pair in shard]
    places = shuffling.source_order(manifest)
    assert places.tolist() == [dealt.index(name) for name in names]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path):
    """100,000 samples of 128 kB, which are 13 GB: a window of them, and no more."""
    starts = []
    for number, sizes in enumerate([(1000, 8, 2000), (100_000, 1000, 2**17)]):
        place = tmp_path / f"records-{number}"
        made(place, *sizes, linked=True)
        starts.append(starting.measure(place, tmp_path / f"run-{number}"))
    small, large = (start.peak for start in starts)
    # The window's 256 MiB, what is read ahead, and the allocator's slack.
    assert large - small < 600


@pytest.mark.slow
def test_the_command_prints_both_tables(scripts, tmp_path):
    words = ["--samples", 600, "--shards", 10, "--bytes", 600, "--out", tmp_path]
    output = scripts.run("benchmark", "large", *words).stdout
    assert re.search(r"(?m)^ *600 +10 +0\.000 ", output)
    assert "\n| a perfect shuffle | 200 | 3 | 25,042 |\n" in output
    assert (tmp_path / "benchmark_large.json").exists()
