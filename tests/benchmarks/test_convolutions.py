import pytest

from benchmarks import convolutions
from benchmarks.convolutions import Layer


def test_all_ways_give_the_same():
    """One round each; times are not tested."""
    layers = [Layer(8, 6, 2, 12), Layer(4, 8, 1, 9)]
    found = convolutions.compare_layers(layers, rounds=1)
    ways = ["F(4x4), not in use", "F(2x2)", "training, F(4x4), not in use"]
    assert [each.way for each in found] == ways * 2
    for each in found:
        assert 0 < each.difference < 1e-5, each
        assert each.ratio > 0


@pytest.mark.slow
def test_all_leads_give_the_same():
    for each in convolutions.compare_leads(rounds=1):
        assert each.difference <= 1e-4, each
