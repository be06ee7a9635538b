"""Padding and depthwise convolutions as Keras has them, and their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.layers import ConvNorm, SeparableConvNorm
from gcnet_tf.layers.convolution.conv_norm import hard_swish
from gcnet_tf.layers.convolution.same_conv import DepthwiseConv2D, SameConv2D
from gcnet_tf.weights.files import weights_by_path

RNG = np.random.default_rng(0)
CHANNELS = 6


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [(8, 10), (9, 11)])
def test_same_pads_as_keras(size, strides):
    x = drawn(2, *size, 3)
    ours, theirs = SameConv2D(4, 3, strides), keras.layers.Conv2D(
        4, 3, strides, padding="same", use_bias=False
    )
    expected = theirs(x)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)
    assert ours(x).shape == ours.compute_output_shape(x.shape)


@pytest.mark.parametrize(
    "kernel_size, strides, dilation", [(3, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2)]
)
@pytest.mark.parametrize("size", [(8, 10), (9, 11)])
def test_depthwise_is_that_of_keras(size, kernel_size, strides, dilation):
    x = drawn(2, *size, CHANNELS)
    ours = DepthwiseConv2D(CHANNELS, kernel_size, strides, dilation)
    theirs = keras.layers.DepthwiseConv2D(
        kernel_size, strides, "same", dilation_rate=dilation, use_bias=False
    )
    expected = theirs(x)
    ours.build(x.shape)
    (kernel,) = theirs.get_weights()
    ours.set_weights([kernel.swapaxes(2, 3)])
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


def by_shifts(x, kernel, dilation):
    """Sums shifted inputs, whose gradients need no operation for convolution."""
    size = kernel.shape[0]
    pad = dilation * (size - 1) // 2
    height, width = x.shape[1:3]
    padded = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    return tf.add_n(
        [
            padded[:, i * dilation :, j * dilation :][:, :height, :width] * kernel[i, j]
            for i in range(size)
            for j in range(size)
        ]
    )


# TensorFlow's own operation accepts dilations, but its gradients silently ignore them.
@pytest.mark.parametrize("kernel_size, dilation", [(3, 2), (5, 2), (3, 4)])
def test_gradients_of_dilated_depthwise_convolutions(kernel_size, dilation):
    x = tf.constant(drawn(2, 9, 12, CHANNELS))
    layer = DepthwiseConv2D(CHANNELS, kernel_size, dilation=dilation)
    layer.build(x.shape)
    kernel, weights = tf.constant(layer.kernel), drawn(2, 9, 12, CHANNELS)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, kernel])
        actual = tf.reduce_sum(layer(x) * weights)
        expected = tf.reduce_sum(by_shifts(x, kernel, dilation) * weights)
    expected_gradients = tape.gradient(expected, [x, kernel])
    gradients = tape.gradient(actual, [x, layer.trainable_weights[0]])
    for gradient, exact in zip(gradients, expected_gradients):
        np.testing.assert_allclose(gradient, exact, atol=1e-4)


def test_depthwise_needs_as_many_filters_as_channels():
    with pytest.raises(ValueError, match="filters=4, channels=6"):
        DepthwiseConv2D(4, 3).build((None, 8, 8, 6))


def test_new_depthwise_kernels_count_one_channel():
    layer = DepthwiseConv2D(512, 3)
    layer.build((None, None, None, 512))
    assert layer.kernel.numpy().std() == pytest.approx((2 / 9) ** 0.5, rel=0.05)


def test_hard_swish():
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    expected = x * np.clip(x / 6 + 0.5, 0, 1)
    np.testing.assert_allclose(hard_swish(tf.constant(x)), expected, atol=1e-6)


def test_a_separable_unit_is_two_that_normalise():
    x = drawn(3, 8, 8, CHANNELS)
    unit = SeparableConvNorm(5)
    out = unit(x, training=True)
    assert out.shape == unit.compute_output_shape(x.shape) == (3, 8, 8, 5)
    expected = unit.pointwise(unit.depthwise(x, training=True), training=True)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    weights = weights_by_path(unit).items()
    kernels = sum(np.prod(weight.shape) for path, weight in weights if "kernel" in path)
    assert kernels == 9 * CHANNELS + CHANNELS * 5


@pytest.mark.parametrize(
    "layer",
    [
        ConvNorm(6, 5, kind="depthwise", activation="hard_swish", epsilon=1e-3),
        SeparableConvNorm(5, folded=True),
    ],
)
def test_survives_saving(layer):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
