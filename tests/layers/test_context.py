"""The table of blocks, and what configurations say of them."""

import inspect

import numpy as np
import pytest

from gcnet_tf.config.context import CONTEXT_SETTINGS, NO_BLOCK
from gcnet_tf.layers import GlobalContextBlock, NonLocalBlock, make_context
from gcnet_tf.layers.context import BLOCKS, NONE


@pytest.mark.parametrize(
    "block, layer, settings",
    [
        ("gc", GlobalContextBlock, {"transform": "bottleneck_norm", "ratio": 0.25}),
        ("snl", GlobalContextBlock, {"transform": "linear", "pooling": "att"}),
        ("se", GlobalContextBlock, {"pooling": "avg", "gate": "sigmoid"}),
        ("se_mmseg", GlobalContextBlock, {"ratio": 1 / 16, "gate": "hard_sigmoid"}),
        ("nl", NonLocalBlock, {"ratio": 0.5, "mode": "embedded_gaussian"}),
    ],
)
def test_a_word_gives_its_layer(block, layer, settings):
    made = make_context(block, dtype="float64", name="here", folded=True)
    assert type(made) is layer
    assert (made.name, made.compute_dtype, made.folded) == ("here", "float64", True)
    assert {name: getattr(made, name) for name in settings} == settings


def test_settings_reach_the_layer():
    block = make_context("nl", mode="gaussian", sub_sample=True, ratio=0.25)
    assert (block.mode, block.sub_sample, block.ratio) == ("gaussian", True, 0.25)


def test_none_gives_no_layer():
    assert make_context("none") is None


@pytest.mark.parametrize("arguments", [{"block": "psp"}, {"block": "none", "ratio": 1}])
def test_refuses_what_is_not_there(arguments):
    with pytest.raises(ValueError, match="block must be one of.*'nl', 'none'"):
        make_context(**arguments)


@pytest.mark.parametrize(
    "block, setting", [("gc", "mode"), ("snl", "ratio"), ("se", "gate")]
)
def test_a_setting_of_another_block_is_refused(block, setting):
    with pytest.raises(ValueError, match=f"settings of {block} .*{setting}"):
        make_context(block, **{setting: "gaussian"})


@pytest.mark.parametrize("block", BLOCKS)
def test_all_blocks_are_called_alike(block):
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 32)).astype(np.float32)
    layer = make_context(block)
    for training in (False, True):
        actual = layer(x, training=training).numpy()
        # A new block adds nothing, or multiplies by one half.
        share = 0.5 if block.startswith("se") else 1
        np.testing.assert_allclose(actual, share * x, rtol=1e-6)
    assert layer.compute_output_shape(x.shape) == x.shape


def test_configurations_know_the_blocks_and_their_settings():
    assert CONTEXT_SETTINGS.keys() == {*BLOCKS, NONE} and NO_BLOCK == NONE
    for block, row in BLOCKS.items():
        assert CONTEXT_SETTINGS[block] == row.settings
        arguments = inspect.signature(row.layer).parameters
        assert {*row.settings, *row.fixed} <= arguments.keys()


def test_published_defaults_are_those_of_the_layer():
    for block in ("gc", "nl"):
        arguments = inspect.signature(BLOCKS[block].layer).parameters
        for name, value in BLOCKS[block].settings.items():
            assert arguments[name].default == value
