"""The global context block, and squeeze-and-excitation and SNL, which are of its kind.

The paper has no code for the last two: they are compared with formulas written here.
"""

import itertools

import keras
import numpy as np
import oracles
import pytest

from gcnet_tf.layers import GlobalContextBlock, make_context
from gcnet_tf.layers.global_context import (
    POOLINGS,
    TRANSFORMS,
    rounded_to_multiple,
)
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)
FUSIONS = [("channel_add",), ("channel_mul",), ("channel_mul", "channel_add")]


def randomise(block):
    for weight in block.weights:
        weight.assign(RNG.normal(0, 0.5, weight.shape))


def transform(layer, context, kind="bottleneck_norm"):
    """Transforms a context (batch, channels); LayerNorm has epsilon 1e-5."""
    if kind == "linear":
        return context @ layer.kernel.numpy()[0, 0] + layer.bias.numpy()
    x = context @ layer.reduce.kernel.numpy()[0, 0] + layer.reduce.bias.numpy()
    if kind == "bottleneck_norm":
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        x = x * layer.norm.gamma.numpy() + layer.norm.beta.numpy()
    x = np.maximum(x, 0)
    return x @ layer.expand.kernel.numpy()[0, 0] + layer.expand.bias.numpy()


def expected(block, x):
    positions = x.reshape(len(x), -1, x.shape[-1]).astype(np.float64)
    if block.pooling == "att":
        scores = positions @ block.mask.kernel.numpy()[0, 0] + block.mask.bias.numpy()
        attention = oracles.softmax(scores[..., 0])
        context = np.einsum("np,npc->nc", attention, positions)
    else:
        context = positions.mean(axis=1)
    out = x.astype(np.float64)
    if "channel_mul" in block.fusions:
        gate = transform(block.channel_mul, context, block.transform)
        out = out / (1 + np.exp(-gate))[:, None, None]
    if "channel_add" in block.fusions:
        added = transform(block.channel_add, context, block.transform)
        out = out + added[:, None, None]
    return out


@pytest.mark.parametrize(
    "pooling, kind, fusions", [*itertools.product(POOLINGS, TRANSFORMS, FUSIONS)]
)
@pytest.mark.parametrize("folded", [False, True])
def test_equals_the_definition(pooling, kind, fusions, folded):
    x = RNG.normal(size=(2, 5, 7, 16))
    block = GlobalContextBlock(
        0.25, pooling, fusions, kind, folded=folded, dtype="float64"
    )
    block.build(x.shape)
    randomise(block)
    np.testing.assert_allclose(block(x), expected(block, x), atol=1e-12)


def test_simplified_non_local():
    """The formula is x_i + W_v sum_j softmax_j(W_k x_j) x_j."""
    x = RNG.normal(size=(2, 5, 7, 6))
    block = make_context("snl", dtype="float64")
    block.build(x.shape)
    randomise(block)
    names = ["mask/kernel", "mask/bias", "channel_add/kernel", "channel_add/bias"]
    assert list(weights_by_path(block)) == names
    scores = x @ block.mask.kernel.numpy()[0, 0, :, 0]
    shares = oracles.softmax(scores.reshape(2, 35)).reshape(2, 5, 7)
    context = np.einsum("bhw,bhwc->bc", shares, x)
    added = context @ block.channel_add.kernel.numpy()[0, 0]
    added += block.channel_add.bias.numpy()
    np.testing.assert_allclose(block(x), x + added[:, None, None], atol=1e-12)
    np.testing.assert_allclose(block.attention(x)[:, 0], shares, atol=1e-12)


def test_squeeze_excitation():
    """It is x sigmoid(W_2 relu(W_1 mean(x))); golden tests have mmsegmentation's."""
    x = RNG.normal(size=(2, 5, 7, 32))
    block = make_context("se", dtype="float64")
    block.build(x.shape)
    randomise(block)
    reduce, expand = block.channel_mul.reduce, block.channel_mul.expand
    assert reduce.kernel.shape == (1, 1, 32, 2)
    hidden = x.mean(axis=(1, 2)) @ reduce.kernel.numpy()[0, 0] + reduce.bias.numpy()
    gate = np.maximum(hidden, 0) @ expand.kernel.numpy()[0, 0] + expand.bias.numpy()
    gate = 1 / (1 + np.exp(-gate))
    np.testing.assert_allclose(block(x), x * gate[:, None, None], atol=1e-12)
    with pytest.raises(ValueError, match="no attention"):
        block.attention(x)


def test_widths_of_the_hard_form():
    """Widths are rounded to the nearest multiple of 8, but never down by 10 %."""
    widths = [rounded_to_multiple(width) for width in (1, 11, 12, 18, 37, 72, 107)]
    assert widths == [8, 16, 16, 24, 40, 72, 104]


def test_attention_is_one_map_for_all_queries():
    x = RNG.normal(size=(2, 5, 7, 16))
    block = GlobalContextBlock(dtype="float64")
    block.build(x.shape)
    randomise(block)
    attention = block.attention(x, [(0, 0), (4, 6)])
    assert attention.shape == (2, 1, 5, 7)
    context = np.einsum("bnhw,bhwc->bnc", attention, x)
    np.testing.assert_allclose(block._pool(x)[:, 0], context, atol=1e-12)


def test_attention_is_over_one_image_not_over_the_batch():
    x = RNG.normal(size=(2, 5, 7, 16)).astype(np.float32)
    block = GlobalContextBlock()
    block.build(x.shape)
    randomise(block)
    np.testing.assert_allclose(block(x)[:1], block(x[:1]), atol=1e-6)


def test_at_the_start_adding_changes_nothing_and_multiplying_halves():
    x = RNG.normal(size=(1, 4, 4, 8)).astype(np.float32)
    np.testing.assert_array_equal(GlobalContextBlock()(x), x)
    halved = GlobalContextBlock(fusions=("channel_mul",))(x)
    np.testing.assert_allclose(halved, x / 2, rtol=1e-6)


def test_number_of_weights_at_the_published_width():
    block = GlobalContextBlock(0.25)
    block.build((None, None, None, 512))
    assert block.count_params() == 132_481


def test_average_pooling_has_no_mask():
    block = GlobalContextBlock(pooling="avg")
    block.build((None, None, None, 8))
    assert not any("mask" in path for path in weights_by_path(block))


@pytest.mark.parametrize(
    "make_block",
    [
        lambda: GlobalContextBlock(0.5, "att", ("channel_mul", "channel_add")),
        lambda: GlobalContextBlock(0.5, "avg", transform="bottleneck"),
        lambda: make_context("snl"),
        lambda: make_context("se", ratio=0.25),
        lambda: make_context("se_mmseg", ratio=0.25),
    ],
)
def test_works_inside_a_functional_model_and_round_trips(tmp_path, make_block):
    inputs = keras.Input((None, None, 8))
    block = make_block()
    model = keras.Model(inputs, block(inputs))
    randomise(block)
    model.save(tmp_path / "block.keras")
    again = keras.models.load_model(tmp_path / "block.keras")
    x = RNG.normal(size=(1, 3, 3, 8)).astype(np.float32)
    np.testing.assert_array_equal(model(x), again(x))


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"pooling": "max"}, "pooling"),
        ({"fusions": ()}, "fusions"),
        ({"fusions": ("add",)}, "fusions"),
        ({"transform": "none"}, "transform"),
    ],
)
def test_refuses_unknown_variants(arguments, text):
    with pytest.raises(ValueError, match=text):
        GlobalContextBlock(**arguments)


@pytest.mark.parametrize("block", [GlobalContextBlock(0.1), make_context("se")])
def test_refuses_a_bottleneck_of_no_channels(block):
    with pytest.raises(ValueError, match="at least 1"):
        block.build((None, None, None, 8))
