"""The table of names, against the key lists of two published models."""

import numpy as np
import pytest

from gcnet_tf.config import load_config
from gcnet_tf.models import build_model
from gcnet_tf.weights import mmseg_names
from gcnet_tf.weights.files import weight_shapes


def num_convs(depth):
    """Counts a backbone's convolutions: three in the stem, blocks and projections."""
    blocks = {18: 8, 34: 16, 50: 16, 101: 33}[depth]
    projections = {18: 3, 34: 3, 50: 4, 101: 4}[depth]
    return 3 + blocks * (3 if depth > 34 else 2) + projections


@pytest.mark.parametrize("depth, entries", [(50, 366), (101, 672)])
def test_every_weight_has_its_own_name(depth, entries):
    model = build_model(
        load_config("voc_r50_20k", [f"model.backbone.depth={depth}", *NARROW])
    )
    keys = [mmseg_names.reference_key(path) for path in weight_shapes(model)]
    assert len(set(keys)) == len(keys)
    # docs/reference.md, section 2.2: the entries of a checkpoint, with the counters.
    num_norms = num_convs(depth) + 3 + 1
    assert len(keys) + num_norms == entries


NARROW = [
    "model.backbone.base_channels=4",
    "model.head.channels=8",
    "model.auxiliary.channels=8",
]

# Names of docs/reference.md, section 2.2, written by hand.
KNOWN = {
    "backbone/stem1/conv/kernel": "backbone.stem.0.weight",
    "backbone/stem3/norm/moving_variance": "backbone.stem.7.running_var",
    "backbone/stage1_block1/conv1/conv/kernel": "backbone.layer1.0.conv1.weight",
    "backbone/stage3_block23/conv2/norm/gamma": "backbone.layer3.22.bn2.weight",
    "backbone/stage4_block1/shortcut/conv/kernel": (
        "backbone.layer4.0.downsample.0.weight"
    ),
    "backbone/stage4_block1/shortcut/norm/beta": "backbone.layer4.0.downsample.1.bias",
    "decode_head/conv_before/conv/kernel": "decode_head.convs.0.conv.weight",
    "decode_head/conv_after/norm/moving_mean": "decode_head.convs.1.bn.running_mean",
    "decode_head/conv_joined/norm/gamma": "decode_head.conv_cat.bn.weight",
    "decode_head/context/mask/bias": "decode_head.gc_block.conv_mask.bias",
    "decode_head/context/channel_add/reduce/kernel": (
        "decode_head.gc_block.channel_add_conv.0.weight"
    ),
    "decode_head/context/channel_mul/norm/beta": (
        "decode_head.gc_block.channel_mul_conv.1.bias"
    ),
    "decode_head/context/channel_add/expand/bias": (
        "decode_head.gc_block.channel_add_conv.3.bias"
    ),
    "decode_head/context/theta/kernel": "decode_head.nl_block.theta.conv.weight",
    "decode_head/context/conv_out/conv/kernel": (
        "decode_head.nl_block.conv_out.conv.weight"
    ),
    "decode_head/context/conv_out/norm/gamma": (
        "decode_head.nl_block.conv_out.bn.weight"
    ),
    "decode_head/context/concat/kernel": (
        "decode_head.nl_block.concat_project.conv.weight"
    ),
    "backbone/stage2_block1/context/mask/kernel": (
        "backbone.layer2.0.context_block.conv_mask.weight"
    ),
    "backbone/stage3_block23/context/channel_add/expand/bias": (
        "backbone.layer3.22.context_block.channel_add_conv.3.bias"
    ),
    "backbone/stage4_block2/context/conv_out/norm/moving_mean": (
        "backbone.layer4.1.nonlocal_block.conv_out.bn.running_mean"
    ),
    "decode_head/classifier/kernel": "decode_head.conv_seg.weight",
    "auxiliary_head/conv/conv/kernel": "auxiliary_head.convs.0.conv.weight",
    "auxiliary_head/classifier/bias": "auxiliary_head.conv_seg.bias",
}


@pytest.mark.parametrize("path, key", KNOWN.items())
def test_known_names(path, key):
    assert mmseg_names.reference_key(path) == key


@pytest.mark.parametrize(
    "path",
    [
        "backbone/stem4/conv/kernel",
        "head/kernel",
        "backbone/stem1/conv/depth",
        "decode_head/context/channel_add/kernel",
    ],
)
def test_other_paths_are_errors(path):
    with pytest.raises(KeyError):
        mmseg_names.reference_key(path)


@pytest.mark.parametrize(
    "key, usual",
    [
        (
            "backbone.layer2.0.context_block_2.conv_mask.weight",
            "backbone.layer2.0.context_block.conv_mask.weight",
        ),
        (
            "backbone.layer3.5.nonlocal_block1.g.0.conv.bias",
            "backbone.layer3.5.nonlocal_block.g.conv.bias",
        ),
        (
            "decode_head.nl_block.phi.0.conv.weight",
            "decode_head.nl_block.phi.conv.weight",
        ),
        ("decode_head.nl_block.theta.conv.weight",) * 2,
        ("decode_head.gc_block.channel_add_conv.0.weight",) * 2,
        ("backbone.layer1.0.downsample.0.weight",) * 2,
    ],
)
def test_other_names_of_a_tensor_are_converted(key, usual):
    assert mmseg_names.usual_key(key) == usual


def test_blocks_that_the_reference_does_not_have():
    def paths(*names):
        return [f"decode_head/context/{name}" for name in names]

    gc = paths("channel_add/reduce/kernel", "channel_add/norm/gamma", "mask/bias")
    assert mmseg_names.paths_without_reference(gc) == []
    without_norm = paths("channel_mul/reduce/kernel", "channel_mul/expand/kernel")
    assert mmseg_names.paths_without_reference(without_norm) == without_norm[:1]
    linear = paths("channel_add/kernel", "mask/kernel")
    assert mmseg_names.paths_without_reference(linear) == linear[:1]


def test_axes():
    kernel = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    path = "decode_head/conv_before/conv/kernel"
    ours = mmseg_names.to_ours(path, kernel)
    assert ours.shape == (5, 7, 3, 2)
    assert ours[4, 6, 2, 1] == kernel[1, 2, 4, 6]
    np.testing.assert_array_equal(mmseg_names.to_reference(path, ours), kernel)
    path = "decode_head/context/channel_add/norm/gamma"
    scale = np.arange(4).reshape(4, 1, 1)
    assert mmseg_names.to_ours(path, scale).shape == (4,)
    back = mmseg_names.to_reference(path, np.arange(4))
    np.testing.assert_array_equal(back, scale)
    path = "decode_head/context/conv_out/norm/gamma"
    assert mmseg_names.to_reference(path, np.arange(4)).shape == (4,)


def test_dropped_entries():
    assert mmseg_names.reason_to_drop("backbone.stem.1.num_batches_tracked")
    assert mmseg_names.reason_to_drop("fc.weight")
    assert mmseg_names.reason_to_drop("backbone.stem.1.weight") is None
    assert mmseg_names.reason_to_drop("decode_head.fc.weight") is None
