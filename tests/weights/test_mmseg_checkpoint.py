import numpy as np
import pytest
from mmseg_states import backbone_state, drawn_state

from gcnet_tf.errors import UserError
from gcnet_tf.models import Segmentor
from gcnet_tf.weights.files import weight_shapes
from gcnet_tf.weights.mmseg_checkpoint import (
    difference_of_classes,
    match_backbone,
    match_segmentor,
)
from gcnet_tf.weights.mmseg_names import reference_key, to_ours


def shapes_of(depth=18, num_classes=3, blocks=None, **head):
    model = Segmentor(
        num_classes,
        backbone={"depth": depth, "base_channels": 4, "context": blocks},
        head={"channels": 8, **head},
        auxiliary={"channels": 8},
    )
    model.build((None, None, None, 3))
    return weight_shapes(model)


@pytest.fixture(scope="module")
def shapes():
    return shapes_of()


@pytest.fixture()
def state(shapes):
    return drawn_state(shapes)


def test_every_weight_gets_its_value(state, shapes):
    matched = match_segmentor(state, shapes, "FILE")
    assert matched.weights.keys() == shapes.keys()
    for path, value in matched.weights.items():
        assert value.shape == shapes[path]
        np.testing.assert_array_equal(value, to_ours(path, state[reference_key(path)]))
    assert set(matched.dropped) == {k for k in state if k.endswith("tracked")}


def test_the_account_adds_up(state, shapes):
    text = match_segmentor(state, shapes, "FILE").account()
    statistics = sum(v.size for k, v in state.items() if "running_" in k)
    counters = sum(k.endswith("tracked") for k in state)
    parameters = sum(v.size for v in state.values()) - statistics - counters
    assert f"{len(state) - counters} tensors" in text
    assert f"{parameters:,} parameters and {statistics:,} running" in text
    assert f"{counters} (a counter" in text


@pytest.mark.parametrize("removed", [1, 9])
def test_missing_tensors_are_listed(state, shapes, removed):
    names = [key for key in state if key.endswith(".running_mean")][:removed]
    for name in names:
        del state[name]
    with pytest.raises(UserError, match=f"{removed} missing: {names[0]}") as error:
        match_segmentor(state, shapes, "FILE")
    assert ("more" in str(error.value)) == (removed > 4)
    assert "\n" not in str(error.value)


def test_unexpected_and_misshapen_tensors_are_listed(state, shapes):
    state["decode_head.extra.weight"] = np.zeros(2, np.float32)
    state["backbone.stem.0.weight"] = np.zeros((2, 3, 5, 5), np.float32)
    state["backbone.stem.3.weight"] = np.zeros(4, np.float32)
    with pytest.raises(UserError, match="nothing was loaded") as error:
        match_segmentor(state, shapes, "FILE")
    assert "1 unexpected: decode_head.extra.weight" in str(error.value)
    assert "2 of another shape: backbone.stem.0.weight [2, 3, 5, 5]" in str(error.value)


@pytest.mark.parametrize("depth", [34, 50, 101])
def test_another_depth(shapes, depth):
    state = drawn_state(shapes_of(depth))
    with pytest.raises(UserError, match=f"of {depth} layers, this .* of 18 layers"):
        match_segmentor(state, shapes, "FILE")


def test_another_number_of_classes(shapes):
    state = drawn_state(shapes_of(num_classes=7))
    with pytest.raises(UserError, match="FILE has 7 classes, this configuration 3"):
        match_segmentor(state, shapes, "FILE")


def test_another_head(state, shapes):
    renamed = {
        key.replace("gc_block", "psp_modules.0"): value for key, value in state.items()
    }
    with pytest.raises(UserError, match="no gc_block, only psp_modules"):
        match_segmentor(renamed, shapes, "FILE")
    plain = {key: value for key, value in state.items() if "gc_block" not in key}
    with pytest.raises(UserError, match="no gc_block. Choose .* gcnet_.*block=none"):
        match_segmentor(plain, shapes, "FILE")
    for block, text in (
        ("nl", "NLNet's: its decode_head has no nl_block, only gc_block"),
        ("none", "FCN's: its decode_head has gc_block. Choose a checkpoint of a fcn_"),
    ):
        others = shapes_of(context={"block": block})
        with pytest.raises(UserError, match=f"{text}.* model.head.context.block=gc"):
            match_segmentor(state, others, "FILE")
    for block in ("snl", "se"):
        others = shapes_of(
            context={"block": block, **({"ratio": 0.5} if block != "snl" else {})}
        )
        with pytest.raises(UserError, match="mmsegmentation has no model like this"):
            match_segmentor(state, others, "FILE")


@pytest.mark.parametrize(
    "model",
    [
        {"context": {"block": "nl"}},
        {"context": {"block": "nl", "mode": "concatenation", "sub_sample": True}},
        {"context": {"block": "none"}},
        {"depth": 50, "blocks": {"block": "gc", "stages": (2, 4)}},
        {"depth": 50, "blocks": {"block": "nl", "stages": (3,)}},
    ],
)
def test_other_blocks_and_places(model):
    shapes = shapes_of(**model)
    state = drawn_state(shapes)
    matched = match_segmentor(state, shapes, "FILE")
    assert matched.weights.keys() == shapes.keys()
    for path, value in matched.weights.items():
        np.testing.assert_array_equal(value, to_ours(path, state[reference_key(path)]))


def test_blocks_in_a_backbone_by_other_names():
    shapes = shapes_of(50, blocks={"block": "nl", "stages": (3,), "sub_sample": True})
    usual = drawn_state(shapes)
    state = {
        key.replace("nonlocal_block.g.", "nonlocal_block.g.0.")
        .replace("nonlocal_block.phi.", "nonlocal_block.phi.0.")
        .replace("nonlocal_block", "nonlocal_block_a"): value
        for key, value in usual.items()
    }
    assert state.keys() != usual.keys()
    actual = match_segmentor(state, shapes, "FILE").weights
    expected = match_segmentor(usual, shapes, "FILE").weights
    assert actual.keys() == expected.keys()
    # Two blocks at one place would have one name of ours, so neither is renamed.
    key = next(key for key in state if "nonlocal_block_a.theta.conv.weight" in key)
    state[key.replace("block_a", "block_b")] = state[key]
    with pytest.raises(UserError, match="1 missing: .*nonlocal_block.theta.*2 unexp"):
        match_segmentor(state, shapes, "FILE")


def test_blocks_of_a_backbone_stay_random_where_the_file_has_none():
    plain = shapes_of(50)
    state = backbone_state(drawn_state(plain))
    for block in ("gc", "se"):
        shapes = shapes_of(50, blocks={"block": block, "stages": (2, 3), "ratio": 0.25})
        matched = match_backbone(state, shapes, "FILE")
        assert matched.weights.keys() == {p for p in plain if p.startswith("backbone/")}
    shapes = shapes_of(50, blocks={"block": "gc", "stages": (2, 3)})
    state = backbone_state(drawn_state(shapes))
    matched = match_backbone(state, shapes, "FILE")
    assert matched.weights.keys() == {p for p in shapes if p.startswith("backbone/")}
    with pytest.raises(UserError, match="unexpected: backbone.layer2.0.context_block"):
        match_backbone(state, plain, "FILE")


def test_another_kind_of_context_block(shapes):
    state = drawn_state(shapes_of(context={"fusions": ("channel_mul",)}))
    with pytest.raises(UserError, match="6 missing.*channel_add_conv.*6 unexpected"):
        match_segmentor(state, shapes, "FILE")


def test_a_file_without_a_model_is_refused(shapes):
    with pytest.raises(UserError, match="not a segmentation model"):
        match_segmentor({"weight": np.zeros(3)}, shapes, "FILE")


def test_a_backbone(state, shapes):
    matched = match_backbone(backbone_state(state), shapes, "FILE")
    assert matched.weights.keys() == {p for p in shapes if p.startswith("backbone/")}
    for path, value in matched.weights.items():
        np.testing.assert_array_equal(value, to_ours(path, state[reference_key(path)]))
    assert {"fc.weight", "fc.bias"} < set(matched.dropped)


def test_other_files_than_the_backbone_are_refused(state, shapes):
    with pytest.raises(UserError, match="whole segmentation model.*init_from"):
        match_backbone(state, shapes, "FILE")
    with pytest.raises(UserError, match="not a ResNet-V1c"):
        match_backbone({"conv1.weight": np.zeros((64, 3, 7, 7))}, shapes, "FILE")
    deeper = backbone_state(drawn_state(shapes_of(depth=50)))
    with pytest.raises(UserError, match="of 50 layers, this configuration of 18"):
        match_backbone(deeper, shapes, "FILE")
    short = backbone_state(state)
    del short["layer4.1.bn2.running_var"]
    with pytest.raises(UserError, match="1 missing: backbone.layer4.1.bn2.running_var"):
        match_backbone(short, shapes, "FILE")


@pytest.mark.parametrize(
    "meta, expected",
    [
        ({"CLASSES": ("road", "car")}, None),
        ({"CLASSES": ["road", "bus"]}, "calls class 1 'bus', not 'car'"),
        ({"dataset_meta": {"classes": ("tree", "car")}}, "calls class 0 'tree'"),
        ({}, None),
        ({"CLASSES": 5, "dataset_meta": "?"}, None),
    ],
)
def test_class_names(meta, expected):
    difference = difference_of_classes(meta, ("road", "car"))
    assert difference is None if expected is None else expected in difference
