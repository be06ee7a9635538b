import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.compat import has_dilated_gradient
from gcnet_tf.layers import SymmetricConv2D
from gcnet_tf.layers.convolution import trainable
from gcnet_tf.layers.convolution.trainable import (
    trainable_conv2d,
    trainable_winograd_conv2d,
)

RNG = np.random.default_rng(0)
GRADIENT_OF_KERNEL = "Conv2DBackpropFilter"


@tf.function(autograph=False)
def outputs_and_gradients(function, inputs, kernel, upstream):
    """In a graph, where arguments of a custom gradient become tensors."""
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = function(inputs, kernel)
    return [outputs, *tape.gradient(outputs, [inputs, kernel], upstream)]


def both(function, dtype, side, size, dilation):
    """Computes them by `function`, and in float64 from the same, rounded numbers."""
    shapes = [(2, *size, 3), (side, side, 3, 4), (2, *size, 4)]
    arrays = [tf.constant(RNG.normal(size=shape), dtype) for shape in shapes]
    expected = outputs_and_gradients(
        lambda x, k: tf.nn.convolution(x, k, padding="SAME", dilations=dilation),
        *(tf.cast(array, tf.float64) for array in arrays),
    )
    return outputs_and_gradients(function, *arrays), expected


def assert_rounded(actual, exact, dtype):
    """Rounding is relative to the largest number, and that of results to each."""
    assert actual.dtype == dtype
    of_each = 2**-8 if dtype == tf.bfloat16 else 0
    atol = 2e-5 * np.abs(exact).max()
    np.testing.assert_allclose(tf.cast(actual, tf.float64), exact, of_each, atol)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=lambda x: x.name)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(9, 6), (8, 16)])
def test_winograd_has_the_gradients_of_direct_convolution(size, dilation, dtype):
    results = both(
        lambda x, k: trainable_winograd_conv2d(x, k, dilation),
        *(dtype, 3, size, dilation),
    )
    for actual, exact in zip(*results):
        assert_rounded(actual, exact, dtype)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16], ids=lambda x: x.name)
@pytest.mark.parametrize("dilation", [1, 2])
def test_winograd_for_the_gradient_of_the_kernel_alone(dilation, dtype):
    if dilation > 1 and not has_dilated_gradient(dtype):
        pytest.skip("direct convolutions have no dilated gradient here: not the rule")
    actual, expected = both(
        lambda x, k: trainable_winograd_conv2d(x, k, dilation, outputs=False),
        *(dtype, 3, (9, 6), dilation),
    )
    assert_rounded(actual[2], expected[2], dtype)
    # TensorFlow's own operations, which on some processors sum up in bfloat16.
    for values, exact in zip(actual[:2], expected):
        atol = (0.03 if dtype == tf.bfloat16 else 1e-5) * np.abs(exact).max()
        np.testing.assert_allclose(tf.cast(values, tf.float64), exact, atol=atol)


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=lambda x: x.name)
def test_kernels_of_each_side(side, dtype):
    for actual, exact in zip(*both(trainable_conv2d, dtype, side, (9, 6), 1)):
        atol = (1e-5 if dtype == tf.float32 else 1e-13) * np.abs(exact).max()
        np.testing.assert_allclose(actual, exact, atol=atol)


def kinds(shape, filters, side, dilation, policy):
    """The operations of a training step of one layer."""
    layer = SymmetricConv2D(filters, side, 1, dilation, winograd=True, dtype=policy)
    layer.build(shape)

    @tf.function(autograph=False)
    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return tape.gradient(outputs, [inputs, *layer.trainable_weights])

    graph = step.get_concrete_function(tf.TensorSpec(shape, layer.compute_dtype)).graph
    return {operation.type for operation in graph.get_operations()}


SHAPES = [
    ((4, 32, 32, 2048), 512, 1),
    ((4, 32, 32, 256), 256, 2),
    ((4, 32, 32, 128), 128, 1),
    ((1, 4, 4, 2048), 512, 1),
]


# Whether outputs, and whether the kernel's gradient, are Winograd's.
BOTH, GRADIENT, NEITHER = (True, True), (False, True), (False, False)


@pytest.mark.parametrize(
    "policy, rate, expected",
    [
        ("float32", 2, [BOTH, BOTH, BOTH, NEITHER]),
        ("mixed_bfloat16", 1 / 3, [BOTH, BOTH, BOTH, NEITHER]),
        ("mixed_bfloat16", 2, [GRADIENT, GRADIENT, NEITHER, NEITHER]),
        ("mixed_bfloat16", 16, [NEITHER] * 4),
        ("mixed_float16", 2, [NEITHER] * 4),
    ],
)
def test_the_rule(policy, rate, expected, monkeypatch):
    """Large features of many channels; in bfloat16 by its rate beside float32's."""
    monkeypatch.setattr(trainable, "bfloat16_rate", lambda: rate)
    monkeypatch.setattr(trainable, "has_dilated_gradient", lambda dtype: True)
    found = []
    for shape, filters, dilation in SHAPES:
        operations = kinds(shape, filters, 3, dilation, policy)
        found.append(("Conv2D" not in operations, GRADIENT_OF_KERNEL not in operations))
    assert found == expected


def test_the_gradient_of_a_1x1_kernel_is_a_product_of_matrices():
    operations = kinds((2, 8, 8, 16), 32, 1, 1, "float32")
    assert {"Conv2D", "Conv2DBackpropInput", "MatMul"} <= operations
    assert GRADIENT_OF_KERNEL not in operations
