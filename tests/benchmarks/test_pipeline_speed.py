"""Workers, the table, and equal crops from every way to build the pipeline."""

import sys

import numpy as np
import pytest

from benchmarks.pipeline import leads
from benchmarks.pipeline.bench import LEADS, Bench, StreamSpeed, benchmark_config, table
from benchmarks.pipeline.voc_like import write_voc_like
from benchmarks.workers import Worker
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.errors import UserError

SERVER = """
from benchmarks.workers import serve
serve({"some images": lambda: 4, "many": lambda: 400})
"""


def test_a_worker_counts_its_images():
    with Worker([sys.executable, "-c", SERVER]) as worker:
        for name, batch in (("some images", 4), ("many", 400), ("some images", 4)):
            measurement = worker.measure(name, 0.01)
            assert measurement.images > 0 and measurement.images % batch == 0
            assert measurement.wall >= 0.01
            assert measurement.cpu > 0 and measurement.memory > 1


def test_the_output_of_a_failed_worker_is_shown():
    code = "raise SystemExit('no such module')"
    with Worker([sys.executable, "-c", code]) as worker:
        with pytest.raises(UserError, match="'uint8' ended: no such module"):
            worker.measure("uint8", 0.01)


def test_ratios_are_taken_in_each_round(tmp_path):
    with Bench(tmp_path, rounds=3, seconds=0.01) as bench:
        with Worker([sys.executable, "-c", SERVER]) as worker:
            sides = [("few", worker, "some images"), ("all", worker, "many")]
            few, many = bench.compare(sides, "few")
    assert few.ratios == [1, 1, 1]
    assert len(many.rates) == 3
    assert many.ratios == [a / b for a, b in zip(many.rates, few.rates)]


def test_the_table_shows_medians_and_the_range():
    text = table([StreamSpeed("ours", [10.0, 30.0, 20.0], [1.5, 2.5, 2.0], 0.5)])
    assert text.splitlines()[1].split() == [
        "ours",
        "20.0",
        "2.00",
        "1.50",
        "2.50",
        "50%",
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Configuration of a training on 16 drawn images."""
    root = tmp_path_factory.mktemp("data") / "voc"
    write_voc_like(root, 16)
    config = benchmark_config(root)
    ensure_records(config, ["train"])
    return config


@pytest.fixture(scope="module")
def batch(config):
    """First batch of the stream that is in use."""
    return next(training_dataset(config).as_numpy_iterator())


# Share of the numbers that may differ. Colour steps truncate, and compiled steps differ
# by a rounding before that.
SHARE_THAT_DIFFERS = {
    "whole image, op by op": 1e-3,
    "needed region, op by op": 1e-3,
    "cropping decoder": 0,
    "scaled decoder": 0,  # No image shrinks enough to be decoded at half the size.
}


@pytest.mark.parametrize("name", [*LEADS, "scaled decoder"])
def test_other_ways_make_the_same_crops(config, batch, name):
    other = next(leads.dataset(config, name).as_numpy_iterator())
    np.testing.assert_array_equal(other["label"], batch["label"])
    np.testing.assert_array_equal(other["valid_size"], batch["valid_size"])
    share = np.mean(other["image"] != batch["image"])
    if name in SHARE_THAT_DIFFERS:
        assert share <= SHARE_THAT_DIFFERS[name]
    else:
        # Colours are rounded in another order, or not changed yet.
        assert share > 0.1
