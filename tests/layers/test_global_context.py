import keras
import numpy as np
import oracles
import pytest

from gcnet_tf.layers import GlobalContextBlock

RNG = np.random.default_rng(0)
VARIANTS = [
    ("att", ("channel_add",)),
    ("att", ("channel_mul",)),
    ("avg", ("channel_add",)),
    ("att", ("channel_mul", "channel_add")),
]


def randomise(block):
    for weight in block.weights:
        weight.assign(RNG.normal(0, 0.5, weight.shape))


def transform(layer, context):
    """1x1, LayerNorm (epsilon 1e-5), ReLU, 1x1 on (batch, channels)."""
    x = context @ layer.reduce.kernel.numpy()[0, 0] + layer.reduce.bias.numpy()
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    x = np.maximum(x * layer.norm.gamma.numpy() + layer.norm.beta.numpy(), 0)
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
        gate = transform(block.channel_mul, context)
        out = out / (1 + np.exp(-gate))[:, None, None]
    if "channel_add" in block.fusions:
        out = out + transform(block.channel_add, context)[:, None, None]
    return out


@pytest.mark.parametrize("pooling, fusions", VARIANTS)
def test_equals_the_definition(pooling, fusions):
    x = RNG.normal(size=(2, 5, 7, 16)).astype(np.float32)
    block = GlobalContextBlock(0.25, pooling, fusions)
    block.build(x.shape)
    randomise(block)
    np.testing.assert_allclose(block(x), expected(block, x), atol=2e-6, rtol=2e-6)


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
    assert not any("mask" in weight.path for weight in block.weights)


def test_works_inside_a_functional_model_and_round_trips(tmp_path):
    inputs = keras.Input((None, None, 8))
    block = GlobalContextBlock(0.5, "att", ("channel_mul", "channel_add"))
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
    ],
)
def test_refuses_unknown_variants(arguments, text):
    with pytest.raises(ValueError, match=text):
        GlobalContextBlock(**arguments)


def test_refuses_a_bottleneck_of_no_channels():
    with pytest.raises(ValueError, match="at least 1"):
        GlobalContextBlock(0.1).build((None, None, None, 8))
