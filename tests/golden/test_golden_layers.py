"""Context blocks, backbones and heads against the reference's own numbers."""

import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_normal
from golden import check_drawn, load, set_drawn_weights

from gcnet_tf.layers import GlobalContextBlock
from gcnet_tf.models.heads import AuxiliaryHead, ContextHead
from gcnet_tf.models.resnet import ResNet
from gcnet_tf.weights.files import weights_by_path
from gcnet_tf.weights.mmseg_names import reference_key, to_reference

CONTEXT = "decode_head/context"
VARIANTS = {
    "att_add": ("att", ("channel_add",)),
    "att_mul": ("att", ("channel_mul",)),
    "att_both": ("att", ("channel_add", "channel_mul")),
    "avg_both": ("avg", ("channel_add", "channel_mul")),
}


@pytest.fixture(scope="module")
def context():
    return load("context")


def context_block(golden, variant, dtype):
    """Builds a variant of the block with the reference's weights."""
    pooling, fusions = VARIANTS[variant]
    block = GlobalContextBlock(0.25, pooling, fusions, dtype=dtype)
    block.build((None, None, None, 16))
    set_drawn_weights(block, CONTEXT, 11, golden[f"{variant}/weights_checksum"])
    return block


@pytest.mark.parametrize("variant", VARIANTS)
def test_context_block(context, variant):
    inputs = draw_normal("input", (2, 7, 9, 16), 12)
    weighting = draw_normal("weighting", (2, 7, 9, 16), 12)
    check_drawn([inputs, weighting], context["input_checksum"])
    block = context_block(context, variant, "float64")
    leaf = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        outputs = block(leaf)
        total = tf.reduce_sum(outputs * weighting)
    weights = weights_by_path(block)
    gradients = tape.gradient(total, [leaf, *weights.values()])
    expected = context[f"{variant}/output"]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-12)
    assert_close_gradient(gradients[0], context[f"{variant}/input_gradient"])
    for name, gradient in zip(weights, gradients[1:]):
        path = f"{CONTEXT}/{name}"
        key = reference_key(path).removeprefix("decode_head.gc_block.")
        expected = context[f"{variant}/gradient/{key}"]
        if key == "conv_mask.bias":
            # Softmax ignores this bias, so that both gradients are rounding noise.
            np.testing.assert_allclose([gradient, expected], 0, atol=1e-13)
        else:
            assert_close_gradient(to_reference(path, gradient.numpy()), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_context_block_in_float32(context, variant):
    inputs = draw_normal("input", (2, 7, 9, 16), 12).astype(np.float32)
    outputs = context_block(context, variant, "float32")(inputs)
    expected = context[f"{variant}/output_float32"]
    np.testing.assert_allclose(outputs, expected, atol=2e-6)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_backbone(depth):
    golden = load("backbone")
    inputs = draw_normal("input", (1, 33, 49, 3), 12)
    check_drawn([inputs], golden["input_checksum"])
    backbone = ResNet(depth, base_channels=4, dtype="float64")
    backbone.build((None, None, None, 3))
    set_drawn_weights(backbone, "backbone", 11, golden[f"{depth}/weights_checksum"])
    for stage, features in backbone(tf.constant(inputs)).items():
        expected = golden[f"{depth}/{stage}"]
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gc", "fcn"])
def test_head(name):
    golden = load("heads")
    build_head, part, channels = {
        "gc": (
            lambda: ContextHead(5, 16, dropout=0, dtype="float64"),
            "decode_head",
            32,
        ),
        "fcn": (
            lambda: AuxiliaryHead(5, 8, dropout=0, dtype="float64"),
            "auxiliary_head",
            16,
        ),
    }[name]
    features = draw_normal(f"{name} features", (2, 7, 9, channels), 12)
    check_drawn([features], golden[f"{name}/input_checksum"])
    head = build_head()
    head.build((None, None, None, channels))
    set_drawn_weights(head, part, 11, golden[f"{name}/weights_checksum"])
    for training, key in ((False, "eval_logits"), (True, "train_logits")):
        logits = head(tf.constant(features), training=training)
        np.testing.assert_allclose(logits, golden[f"{name}/{key}"], rtol=0, atol=1e-10)
    num_statistics = 0
    for path, weight in weights_by_path(head).items():
        if "moving" not in path:
            continue
        key = reference_key(f"{part}/{path}")
        expected = golden[f"{name}/after/{key}"]
        np.testing.assert_allclose(weight.numpy(), expected, rtol=0, atol=1e-12)
        num_statistics += 1
    assert num_statistics == {"gc": 6, "fcn": 2}[name]


def assert_close_gradient(ours, expected):
    """Compares gradients to 1e-12 of the largest element."""
    np.testing.assert_allclose(
        ours, expected, rtol=0, atol=1e-12 * np.abs(expected).max()
    )
