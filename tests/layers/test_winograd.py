import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.layers import SymmetricConv2D
from gcnet_tf.layers.convolution.winograd import (
    F2,
    F4,
    winograd_conv2d,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("form", [F2, F4], ids=["F2", "F4"])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [(16, 16), (1, 1), (7, 21), (33, 4)])
def test_equals_direct_convolution(size, dilation, form):
    """TensorFlow's own dilated convolution in float64 gives the expected values."""
    inputs = RNG.normal(size=(2, *size, 5))
    kernel = RNG.normal(size=(3, 3, 5, 7))
    expected = tf.nn.convolution(inputs, kernel, padding="SAME", dilations=dilation)
    inputs, kernel = (tf.constant(array, tf.float32) for array in (inputs, kernel))
    actual = winograd_conv2d(inputs, kernel, dilation, form)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max())


def test_any_size_in_one_graph():
    kernel = tf.constant(RNG.normal(size=(3, 3, 3, 4)), tf.float32)
    spec = tf.TensorSpec([None, None, None, 3])
    function = tf.function(lambda x: winograd_conv2d(x, kernel, 2), [spec])
    for shape in [(1, 9, 12, 3), (3, 20, 5, 3)]:
        inputs = RNG.normal(size=shape).astype(np.float32)
        expected = tf.nn.convolution(inputs, kernel, padding="SAME", dilations=2)
        np.testing.assert_allclose(function(inputs), expected, atol=1e-4)
    assert function.experimental_get_tracing_count() == 1


def test_several_inputs_count_as_joined():
    parts = [RNG.normal(size=(2, 9, 14, channels)) for channels in (3, 1, 4)]
    kernel = RNG.normal(size=(3, 3, 8, 5))
    joined = np.concatenate(parts, axis=-1)
    expected = tf.nn.convolution(joined, kernel, padding="SAME", dilations=2)
    inputs = [tf.constant(part, tf.float32) for part in parts]
    actual = winograd_conv2d(inputs, tf.constant(kernel, tf.float32), 2)
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "shape, dilation, uses_winograd",
    [
        ((1, 12, 12), 1, False),  # nine tiles
        ((8, 12, 12), 1, True),
        ((1, 33, 33), 4, False),  # half of the tiles' outputs are outside
        ((1, 64, 64), 4, True),
    ],
)
def test_small_features_are_convolved_directly(shape, dilation, uses_winograd, folded):
    layer = SymmetricConv2D(128, 3, dilation=dilation, winograd=True, folded=folded)
    layer.build((None, None, None, 128))
    spec = tf.TensorSpec([*shape, 128])
    function = tf.function(lambda x: layer(x), [spec], autograph=False)
    operations = function.get_concrete_function().graph.get_operations()
    kinds = {operation.type for operation in operations}
    if folded:  # each image for itself
        uses_winograd = uses_winograd and shape[0] == 1
    assert ("MatMul" in kinds, "Conv2D" in kinds) == (
        uses_winograd,
        not uses_winograd,
    )


@pytest.mark.parametrize("channels", [[128], [96, 32]], ids=["one", "joined"])
@pytest.mark.parametrize(
    "spec, shape, uses_winograd",
    [
        ((None, None, None), (1, 12, 12), False),
        ((None, None, None), (8, 12, 12), False),  # as each image alone
        ((None, None, None), (1, 40, 24), True),
        ((None, None, None), (1, 33, 2), False),
        ((None, 12, 12), (8, 12, 12), False),
        ((None, 24, 24), (2, 24, 24), True),
    ],
)
def test_what_is_faster_is_chosen_when_it_runs(spec, shape, uses_winograd, channels):
    """Direct results are direct ones to the last bit; Winograd's are close."""
    layer = SymmetricConv2D(128, 3, winograd=True, folded=True)
    layer.build((None, None, None, 128))
    parts = [
        tf.constant(RNG.normal(size=[*shape, number]), tf.float32)
        for number in channels
    ]
    specs = [tf.TensorSpec([*spec, number]) for number in channels]
    function = tf.function(lambda *x: layer(list(x)), specs, autograph=False)
    actual = function(*parts).numpy()
    assert function.get_concrete_function().output_shapes[-1] == 128
    direct = tf.function(
        lambda *x: tf.nn.conv2d(
            tf.concat(x, -1), layer.kernel, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]
        )
    )
    expected = direct(*parts).numpy()
    assert np.array_equal(actual, expected) != uses_winograd
    np.testing.assert_allclose(actual, expected, atol=1e-4)
