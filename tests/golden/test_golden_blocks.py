"""The family of context blocks and models with them, against the reference's numbers.

Outputs and gradients of blocks must agree to 1e-12 of their largest element.
"""

import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_image, draw_normal, draw_tensor
from golden import check_drawn, drawn_weights, load, set_drawn_weights

from gcnet_tf.layers import NonLocalBlock, by_rows, make_context, non_local
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.weights.export_mmseg import export_mmseg
from gcnet_tf.weights.files import assign_weights, weight_shapes, weights_by_path
from gcnet_tf.weights.mmseg_names import reference_key, to_ours, to_reference

CONTEXT = "decode_head/context"
VARIANTS = {
    f"{mode}{'_unscaled' * (not scale)}{'_halved' * half}": (mode, scale, half)
    for mode in non_local.MODES
    for scale in ((True, False) if mode == "embedded_gaussian" else (True,))
    for half in (False, True)
}
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def golden():
    return load("non_local")


@pytest.fixture(params=["at once", "by rows"])
def rows(request, monkeypatch):
    """Sets the memory for the affinity: for all rows, or for few rows at a time.

    The last time fewer rows are left.
    """
    if request.param == "by rows":
        room = 4 * 35 * 8 * by_rows._GRADIENT_COPIES
        monkeypatch.setattr(by_rows, "AFFINITY_BYTES", room)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_non_local_block(golden, rows, variant, training):
    mode, use_scale, sub_sample = VARIANTS[variant]
    inputs = draw_normal("input", (2, 5, 7, 12), 12)
    weighting = draw_normal("weighting", (2, 5, 7, 12), 12)
    check_drawn([inputs, weighting], golden["input_checksum"])
    block = NonLocalBlock(0.5, mode, use_scale, sub_sample, dtype="float64")
    block.build((None, None, None, 12))
    set_drawn_weights(block, CONTEXT, 11, golden[f"{variant}/weights_checksum"])
    outputs, gradients = _run(block, inputs, weighting, training)
    key = f"{variant}/train" if training else f"{variant}/eval"
    _assert_close(outputs, golden[f"{key}_output"])
    _assert_close(gradients.pop("input"), golden[f"{key}_input_gradient"])
    largest = max(np.abs(value.numpy()).max() for value in gradients.values())
    assert len(gradients) == {"gaussian": 5, "concatenation": 10}.get(mode, 9)
    for path, gradient in gradients.items():
        name = reference_key(f"{CONTEXT}/{path}").removeprefix("decode_head.nl_block.")
        if sub_sample and name.startswith(("g.", "phi.")):
            name = name.replace(".", ".0.", 1)
        expected = golden[f"{key}_gradient/{name}"]
        ours = to_reference(path, gradient.numpy())
        # The softmax ignores phi's bias, and batch normalisation that of g. Their true
        # gradients are 0, so that their rounding is compared with the largest gradient.
        is_zero = np.abs(expected).max() < 1e-12 * largest
        _assert_close(ours, expected, largest if is_zero else None)


@pytest.mark.parametrize("channels, ratio", [(16, 1 / 16), (75, 1 / 2)])
def test_squeeze_excitation(channels, ratio):
    golden = load("squeeze_excitation")
    shape = (2, 3, 2, channels)
    inputs = draw_normal(f"input {channels}", shape, 12)
    weighting = draw_normal(f"weighting {channels}", shape, 12)
    check_drawn([inputs, weighting], golden[f"{channels}/input_checksum"])
    block = make_context("se_mmseg", ratio=ratio, dtype="float64")
    block.build(shape)
    keys = {
        f"channel_mul/{layer}/{ours}": f"conv{index}.conv.{theirs}"
        for index, layer in ((1, "reduce"), (2, "expand"))
        for ours, theirs in (("kernel", "weight"), ("bias", "bias"))
    }
    weights = weights_by_path(block)
    drawn = []
    for path, key in keys.items():
        shape = to_reference(path, np.zeros(weights[path].shape)).shape
        drawn.append(draw_tensor(f"se_layer.{key}", shape, 11))
        weights[path].assign(to_ours(path, drawn[-1]))
    check_drawn(drawn, golden[f"{channels}/weights_checksum"])
    outputs, gradients = _run(block, inputs, weighting, False)
    _assert_close(outputs, golden[f"{channels}/eval_output"])
    _assert_close(gradients.pop("input"), golden[f"{channels}/eval_input_gradient"])
    assert gradients.keys() == keys.keys()
    for path, gradient in gradients.items():
        expected = golden[f"{channels}/eval_gradient/{keys[path]}"]
        _assert_close(to_reference(path, gradient.numpy()), expected)


def _run(block, inputs, weighting, training):
    """Returns the output, and the gradients of `sum(output * weighting)`.

    The gradients are those by the weights, by path, and by the "input".
    """
    leaf = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(leaf)
        outputs = block(leaf, training=training)
        total = tf.reduce_sum(outputs * weighting)
    weights = {
        path: weight
        for path, weight in weights_by_path(block).items()
        if weight.trainable
    }
    return outputs, tape.gradient(total, {"input": leaf, **weights})


def _assert_close(ours, expected, largest=None):
    """Compares to `TOLERANCE` of the largest element."""
    if largest is None:
        largest = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE * largest)


MODELS = {
    "nl_head": ({"depth": 18}, {"block": "nl"}),
    "gc_plugins": ({"depth": 50, "context": {"block": "gc", "ratio": 0.25}}, {}),
    "nl_plugins": (
        {"depth": 50, "context": {"block": "nl", "sub_sample": True, "stages": (3,)}},
        {},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_model(name, tmp_path):
    golden = load("family")
    backbone, context = MODELS[name]
    image = draw_image(12, 65, 97)[np.newaxis]
    check_drawn([image[0]], golden["input_checksum"])

    def build(dtype):
        model = Segmentor(
            5,
            backbone={"base_channels": 4, **backbone},
            head={"channels": 16, "context": context},
            auxiliary={"channels": 8},
            dtype=dtype,
        )
        model.build((None, None, None, 3))
        return model

    exact = build("float64")
    weights = drawn_weights(
        weight_shapes(exact), 11, golden[f"{name}/weights_checksum"]
    )
    assign_weights(exact, weights)
    export_mmseg(exact, tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as state:
        names = golden[f"{name}/names"].item().split("\n")
        assert sorted(state) == [key for key in names if "num_batches" not in key]
    expected = golden[f"{name}/logits"]
    logits = exact(image)["logits"][0, ::3, ::3]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-10)
    single = build("float32")
    assign_weights(single, weights)
    largest = np.abs(expected).max()
    for run in (lambda x: single(x)["logits"], inference_function(single)):
        logits = run(image)[0, ::3, ::3]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=6e-5 * largest)
