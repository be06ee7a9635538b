from contextlib import nullcontext

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from gcnet_tf.layers import NonLocalBlock, by_rows, non_local
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)
CHANNELS = 8


def built(mode="embedded_gaussian", dtype="float32", **settings):
    """Builds a block whose weights have an effect and are equal for equal modes."""
    block = NonLocalBlock(mode=mode, dtype=dtype, **settings)
    block.build((None, None, None, CHANNELS))
    generator = np.random.default_rng(1)
    for path, weight in weights_by_path(block).items():
        values = generator.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in path else values)
    return block


def features(*shape, dtype=np.float32):
    return RNG.normal(size=(*shape, CHANNELS)).astype(dtype)


@pytest.fixture()
def few_rows(monkeypatch):
    """Limits the affinity of 35 positions to three rows, and fewer in training."""
    num_bytes = 3 * 35 * 4 * by_rows._FORWARD_COPIES
    monkeypatch.setattr(by_rows, "AFFINITY_BYTES", num_bytes)


@pytest.mark.parametrize("mode", non_local.MODES)
def test_a_new_block_changes_nothing(mode):
    x = features(2, 4, 5)
    np.testing.assert_array_equal(NonLocalBlock(mode=mode)(x), x)


@pytest.mark.parametrize("known", [True, False], ids=["known size", "any size"])
@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("mode", non_local.MODES)
def test_rows_and_forms_agree(few_rows, monkeypatch, mode, folded, known):
    """Rows at a time, in a loop and unrolled, against the whole affinity."""
    x = features(2, 5, 7)
    block = built(mode)
    shape = x.shape if known else (None, None, None, CHANNELS)
    block.folded = folded
    run = tf.function(block, input_signature=[tf.TensorSpec(shape)])
    actual = run(x).numpy()
    block.folded = False
    monkeypatch.undo()
    np.testing.assert_allclose(actual, block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian"])
def test_attention_is_what_the_block_gathers_by(mode):
    x = features(2, 5, 7, dtype=np.float64)
    block = built(mode, "float64")
    queries = [(0, 0), (4, 6), (2, 3)]
    attention = block.attention(x, queries).numpy()
    assert attention.shape == (2, 3, 5, 7)
    np.testing.assert_allclose(attention.sum((2, 3)), 1)
    gathered = np.einsum("bnhw,bhwc->bnc", attention, block.g(x).numpy())
    rows, columns = zip(*queries)
    expected = block._gathered(x).numpy()[:, rows, columns]
    np.testing.assert_allclose(gathered, expected, atol=1e-12)
    scores = np.einsum(
        "bnc,bhwc->bnhw", _asking(block, x, rows, columns), _keys(block, x)
    )
    if mode == "embedded_gaussian":
        scores /= 2.0
    expected = oracles.softmax(scores.reshape(2, 3, -1)).reshape(attention.shape)
    np.testing.assert_allclose(attention, expected, atol=1e-12)


def _asking(block, x, rows, columns):
    maps = x if block.mode == "gaussian" else block.theta(x).numpy()
    return maps[:, rows, columns]


def _keys(block, x):
    return x if block.mode == "gaussian" else block.phi(x).numpy()


def test_attention_of_half_the_positions():
    block = built(sub_sample=True)
    attention = block.attention(features(1, 5, 7), [(4, 6)])
    assert attention.shape == (1, 1, 2, 3)


def test_the_affinity_is_never_held_as_a_whole(few_rows, monkeypatch):
    """Each of two images has three rows in the forward pass, one in the backward."""
    rows = []
    affinity = NonLocalBlock._affinity

    def spy(self, queries, keys):
        actual = affinity(self, queries, keys)
        rows.append(tuple(actual.shape))
        return actual

    monkeypatch.setattr(NonLocalBlock, "_affinity", spy)
    block, x = built(), tf.constant(features(2, 5, 7))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(block(x, training=True) ** 2)
    forward = 2 * [(1, 3, 35)] * 12
    assert rows == forward
    assert np.abs(tape.gradient(total, x)).max() > 0
    assert rows[len(forward) :] == [(1, 1, 35)] * 2 * 35


@pytest.mark.parametrize("known", [True, False], ids=["known size", "any size"])
def test_sizes_of_which_no_row_fits_are_refused(few_rows, known):
    block = built()
    error = ValueError if known else tf.errors.InvalidArgumentError
    sentence = r"at most 105 positions.*bytes. Take smaller images.*Received:\D*110"
    for size, expected in (
        ((11, 10), pytest.raises(error, match=sentence)),
        ((15, 7), nullcontext()),
    ):
        shape = (1, *(size if known else (None, None)), CHANNELS)
        run = tf.function(block, input_signature=[tf.TensorSpec(shape)])
        with expected:
            run(features(1, *size))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("mode", non_local.MODES)
def test_16_bits_stay_near_32(few_rows, mode, dtype):
    x = tf.constant(features(2, 5, 7))
    actual, expected = [], []
    for results, policy in ((actual, dtype), (expected, "float32")):
        block = built(mode, policy)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = block(x)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32))
        results += [outputs, tape.gradient(total, x)]
    for value, exact in zip(actual, expected):
        error = np.linalg.norm(tf.cast(value, tf.float32) - exact)
        assert 0 < error < 0.03 * np.linalg.norm(exact)


@pytest.mark.parametrize(
    "shape, settings",
    [
        ((1, 97, 97, 512), {}),
        ((2, 64, 64, 512), {"mode": "gaussian"}),
        ((1, 64, 64, 512), {"ratio": 0.25}),
    ],
)
def test_the_bound_is_far_from_the_affinity(shape, settings):
    """The bound is a constant and a few times the input."""
    block = NonLocalBlock(**settings)
    input_bytes = 4 * np.prod(shape)
    positions = shape[1] * shape[2]
    bound = block.peak_bytes(shape)
    assert bound - by_rows.AFFINITY_BYTES <= 5 * input_bytes
    assert bound < 4 * shape[0] * positions**2


def test_works_inside_a_functional_model_and_round_trips(tmp_path):
    inputs = keras.Input((None, None, CHANNELS))
    block = NonLocalBlock(0.25, "concatenation", False, True)
    model = keras.Model(inputs, block(inputs))
    for weight in block.weights:
        weight.assign(np.abs(RNG.normal(0, 0.5, weight.shape)))
    model.save(tmp_path / "block.keras")
    again = keras.models.load_model(tmp_path / "block.keras")
    x = features(1, 4, 6)
    np.testing.assert_array_equal(model(x), again(x))
    assert np.abs(model(x) - x).max() > 0.1


def test_refuses_unknown_modes():
    with pytest.raises(ValueError, match="mode must be one of.*Received: cosine"):
        NonLocalBlock(mode="cosine")
