"""Winograd convolution and other leads give the results of the usual ways."""

import pytest
import tensorflow as tf

from benchmarks.convolutions import layers, leads, rule
from benchmarks.convolutions.comparison import Layer
from gcnet_tf.compat import has_dilated_gradient


def test_all_ways_give_the_same_result():
    """Runs one round of each way; times are not tested."""
    small = [Layer(8, 6, 2, 12), Layer(4, 8, 1, 9)]
    rows = layers.compare_layers(small, rounds=1)
    ways = ["F(4x4), not in use", "F(2x2)", "training, F(4x4), not in use"]
    if has_dilated_gradient(tf.bfloat16):
        ways.append("training in bfloat16, F(4x4) for the kernel's gradient")
    assert [row.way for row in rows] == ways * 2
    sizes = layers.compare_sizes(small, rounds=1)
    assert [row.way for row in sizes] == ways[:1] * 2
    for row in rows + sizes:
        most = 2**-8 if "bfloat16" in row.way else 1e-5  # rounded results
        assert row.difference < most, row
        assert row.ratio > 0
    assert all(row.difference > 0 for row in sizes)


RATIOS = {
    Layer(64, 64, 1, 64): 1.1,
    Layer(128, 128, 1, 64): 0.9,
    Layer(128, 128, 1, 97): 0.8,
    Layer(256, 256, 1, 64): 0.7,
    Layer(256, 256, 1, 12): 1.5,  # its features fill too few tiles
}


def test_the_rule_follows_from_the_times():
    assert rule.least_pairs(RATIOS) == 128 * 128
    assert rule.least_pairs(RATIOS | {Layer(128, 128, 1, 128): 1.01}) == 256 * 256
    assert rule.least_pairs({layer: 1.2 for layer in RATIOS}) is None


def test_the_verdicts_name_layers_for_which_the_rule_is_wrong():
    changes = {Layer(64, 64, 1, 128): 0.9, Layer(512, 512, 4, 64): 1.25}
    lines = rule.verdicts(RATIOS | changes)
    assert lines[0].startswith("This run's rule: F(4x4) for no number of pairs")
    assert lines[2] == "Slower where in use: 512 to 512 at 64x64 dilation 4 (1.25)."
    assert lines[3] == "Faster where not in use: 64 to 64 at 128x128 (0.90)."
    assert rule.verdicts(RATIOS)[2:] == [
        "Slower where in use: nowhere.",
        "Faster where not in use: nowhere.",
    ]


@pytest.mark.slow
def test_all_leads_give_the_same_result():
    # Of bfloat16, results are rounded. Without oneDNN, TensorFlow also sums in it.
    rounding = 2**-8 if has_dilated_gradient(tf.bfloat16) else 0.1
    for row in leads.compare_leads(rounds=1):
        most = rounding if "bfloat16" in row.what else 1e-4
        assert row.difference <= most, row
