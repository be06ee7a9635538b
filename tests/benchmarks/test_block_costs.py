"""Costs of blocks: counts beside those of the graph, memory beside known sizes."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from benchmarks import turns
from benchmarks.blocks import costs as blocks
from benchmarks.blocks import multiply_adds
from benchmarks.blocks.costs import FORWARD, INFERENCE, PASSES, TRAINING, BlockCost
from benchmarks.blocks.peak_memory import ENVIRONMENT
from benchmarks.blocks.report import blocks_report
from benchmarks.workers import Measurement, environment
from gcnet_tf.errors import UserError
from gcnet_tf.layers import make_context

SHAPE = (1, 6, 9, 16)


@pytest.mark.parametrize(
    "block, settings",
    [
        ("gc", {}),
        ("gc", {"fusions": ("channel_add", "channel_mul"), "ratio": 0.5}),
        ("gc", {"pooling": "avg", "transform": "bottleneck"}),
        ("snl", {}),
        ("se", {}),
        ("se_mmseg", {}),
        ("nl", {}),
        ("nl", {"ratio": 0.25}),
        ("nl", {"mode": "gaussian"}),
        ("nl", {"mode": "concatenation"}),
        ("nl", {"mode": "dot_product"}),
        ("nl", {"sub_sample": True}),
    ],
)
def test_the_formula_agrees_with_the_graph(block, settings):
    # The training form of "nl" has a loop, and the folded form of the other blocks has
    # no matrix products to count.
    layer = make_context(block, folded=block == "nl", **settings)
    layer.build(SHAPE)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec(SHAPE))
    counted = multiply_adds.of_block(layer, SHAPE)
    assert counted == multiply_adds.of_function(graph)
    assert multiply_adds.of_block(layer, (3, *SHAPE[1:])) == 3 * counted


def test_the_formula_agrees_with_a_count_by_hand():
    positions, channels = 54, 16
    expected = {
        "gc": 2 * positions * channels + 2 * channels * 4,
        "se": 2 * channels * 1,
        "nl": 4 * positions * channels * 8 + 2 * positions**2 * 8,
    }
    for block, count in expected.items():
        layer = make_context(block)
        layer.build(SHAPE)
        assert multiply_adds.of_block(layer, SHAPE) == count


KNOWN = """
import tensorflow as tf
from benchmarks.blocks.peak_memory import peak_bytes
images = tf.ones((300, 300))
product = tf.function(lambda images: tf.reduce_max(images @ images))
print(peak_bytes(lambda: product(images)))
result = tf.function(lambda images: tf.nn.relu(images))
print(peak_bytes(lambda: result(images)))
"""


@pytest.mark.slow
def test_known_peak_memory():
    """Measures an intermediate product of 360,000 bytes; results do not count."""
    result = subprocess.run(
        [sys.executable, "-c", KNOWN],
        env={**environment(), **ENVIRONMENT, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    product_bytes, result_bytes = map(int, result.stdout.split())
    # Kernels may ask for some memory to work in.
    assert 360_000 <= product_bytes < 720_000
    assert result_bytes < 36_000


@pytest.fixture(scope="module")
def counts():
    """Counts of two blocks at the size of the promises; few channels, to be fast."""
    return {block: blocks.count(block, (97, 97), 16) for block in ("gc", "nl")}


@pytest.mark.slow
def test_memory_of_gc_and_nl(counts):
    gc, nl = counts["gc"], counts["nl"]
    assert nl["peak_bytes"][FORWARD] >= 50 * gc["peak_bytes"][FORWARD] > 0
    assert gc["bound_bytes"] is None
    # The whole affinity at once would take 354 MB, and the profiler must see its parts.
    assert 4_000_000 < nl["peak_bytes"][FORWARD] <= nl["bound_bytes"] < 50_000_000
    assert nl["peak_bytes"][INFERENCE] <= nl["bound_bytes"]
    assert nl["peak_bytes"][TRAINING] > 0


@pytest.mark.slow
def test_parameters(counts):
    # gc: mask 16+1, 16*4+4, norm 2*4, 4*16+16; nl: 3 * (16*8+8), 8*16, norm 2*16.
    assert counts["gc"]["parameters"] == 17 + 68 + 8 + 80
    assert counts["nl"]["parameters"] == 3 * 136 + 128 + 32


def test_a_count_that_fails_is_an_error(monkeypatch):
    command = [sys.executable, "-c", "raise SystemExit('no memory')"]
    monkeypatch.setattr(blocks, "own_command", lambda *words: command)
    with pytest.raises(UserError, match="the block 'gc' failed: no memory"):
        blocks.count("gc", (8, 8), 8)


@pytest.mark.slow
def test_a_block_is_timed():
    candidate = blocks._candidate("gc", TRAINING, (8, 8), 8, 1)
    (timing,) = turns.measure([candidate], rounds=1, seconds=0.01, threads=1)
    assert timing.name == "gc, training 8x8"
    assert timing.median > 0 and timing.ratios == [1]


def cost(block, peak, seconds, ratio, bound=None):
    """Makes a cost of which every pass is the same."""
    times = [seconds, seconds]
    rounds = [Measurement(2, sum(times), 1.0, 90, 100, times)]
    timing = turns.Timing(block, "features", None, 40, rounds, [ratio])
    peaks = dict.fromkeys(PASSES, peak)
    counts = (132481, 9765888, peaks, bound)
    return BlockCost(block, (97, 97), *counts, dict.fromkeys(PASSES, timing))


def test_promises_are_kept_or_broken():
    gc = cost("gc", 300_000, 0.01, 1.0)
    verdicts = blocks.promises([gc, cost("nl", 30_000_000, 1.0, 100.0, 40_000_000)])
    assert [line.rsplit(" ")[-1] for line in verdicts] == ["kept"] * 3
    assert "nl : gc: 100.0" in verdicts[0] and "97x97" in verdicts[0]
    broken = blocks.promises([gc, cost("nl", 3_000_000, 0.1, 10.0, 2_000_000)])
    assert [line.rsplit(" ")[-1] for line in broken] == ["BROKEN"] * 3


def test_the_report_is_printed_and_written(tmp_path):
    costs = [
        cost("gc", 300_000, 0.01, 1.0),
        cost("nl", 30_000_000, 1.0, 100.0, 40_000_000),
    ]
    report = blocks_report("the command", 512, 2, costs)
    lines = report.text().splitlines()
    assert "float32, batch 1, 512 channels, 2 thread(s)" in lines
    assert lines[-1].endswith(": kept")
    (line,) = [line for line in lines if line.split()[:2] == ["97x97", "nl"]]
    expected = ["97x97", "nl", "132,481", "9.766", *["1000.0", "100.00", "30.000"] * 3]
    assert line.split() == expected
    report.write(tmp_path)
    facts = json.loads((tmp_path / "benchmark_blocks.json").read_text())
    assert facts["costs"][1]["times"]["training"]["ratio"] == 100
    assert facts["costs"][1]["bound_bytes"] == 40_000_000
    assert "the command" in (tmp_path / "benchmark_blocks.md").read_text()
    assert (tmp_path / "benchmark_blocks.png").read_bytes()[1:4] == b"PNG"
