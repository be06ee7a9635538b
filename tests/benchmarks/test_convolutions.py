"""Winograd convolution and other leads give the results of the usual ways."""

import pytest

from benchmarks.convolutions import comparisons
from benchmarks.convolutions.comparisons import Layer


def test_all_ways_give_the_same_result():
    """Runs one round of each way; times are not tested."""
    layers = [Layer(8, 6, 2, 12), Layer(4, 8, 1, 9)]
    rows = comparisons.compare_layers(layers, rounds=1)
    ways = ["F(4x4), not in use", "F(2x2)", "training, F(4x4), not in use"]
    assert [row.way for row in rows] == ways * 2
    for row in rows:
        assert 0 < row.difference < 1e-5, row
        assert row.ratio > 0


@pytest.mark.slow
def test_all_leads_give_the_same_result():
    for row in comparisons.compare_leads(rounds=1):
        assert row.difference <= 1e-4, row
