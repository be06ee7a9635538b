import os
import subprocess
import sys

import numpy as np
import oracles
import pytest
import tensorflow as tf

from gcnet_tf.layers import ConvNorm, SymmetricConv2D

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (8, 9)])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (1, 2), (1, 4)])
def test_equals_symmetric_convolution(size, strides, dilation):
    x = RNG.normal(size=(2, *size, 3)).astype(np.float32)
    layer = SymmetricConv2D(4, 3, strides, dilation, use_bias=True)
    layer.build(x.shape)
    layer.bias.assign(RNG.normal(size=4))
    expected = oracles.conv2d(
        x, layer.kernel.numpy(), layer.bias.numpy(), strides, dilation
    )
    actual = layer(x)
    assert actual.shape == expected.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dilated_gradient_exists_in_16_bits(dtype):
    x = tf.ones((1, 7, 6, 2), dtype)
    layer = SymmetricConv2D(1, 3, dilation=2, dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x))
    assert tf.reduce_any(tape.gradient(loss, x) != 0)


def test_dilated_gradient_exists_without_onednn():
    code = (
        "import tensorflow as tf; from gcnet_tf.layers import SymmetricConv2D\n"
        "layer = SymmetricConv2D(1, 3, dilation=2); x = tf.ones((1, 5, 5, 1))\n"
        "with tf.GradientTape() as tape:\n"
        "    tape.watch(x); y = layer(x)\n"
        "print(tape.gradient(y, x).shape)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "(1, 5, 5, 1)", result.stderr[-2000:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dilated_gradient_exists_and_is_right(dtype):
    # Explicit padding has no CPU gradient when dilated, float64 has none either way.
    x = tf.constant(RNG.normal(size=(1, 7, 6, 2)), dtype)
    layer = SymmetricConv2D(1, 3, dilation=2, dtype=dtype)
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x) ** 2)
    gradient = tape.gradient(loss, x).numpy()
    step = 1e-3
    kernel = layer.kernel.numpy()
    for position in [(0, 0, 0, 0), (0, 3, 2, 1), (0, 6, 5, 0)]:
        nudge = np.zeros(x.shape)
        nudge[position] = step
        up, down = (
            (oracles.conv2d(x.numpy() + sign * nudge, kernel, dilation=2) ** 2).sum()
            for sign in (1, -1)
        )
        assert gradient[position] == pytest.approx((up - down) / (2 * step), rel=2e-3)


def test_initial_kernel_has_the_variance_of_fan_out():
    layer = SymmetricConv2D(64, 3)
    layer.build((None, None, None, 16))
    assert layer.kernel.numpy().std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


@pytest.mark.parametrize(
    "arguments, text",
    [({"kernel_size": 2}, "odd"), ({"strides": 2, "dilation": 2}, "dilation")],
)
def test_refuses_what_it_cannot_do(arguments, text):
    with pytest.raises(ValueError, match=text):
        SymmetricConv2D(4, **arguments)


def test_conv_norm_normalises_the_batch_and_clips():
    x = RNG.normal(3, 2, size=(4, 8, 8, 3)).astype(np.float32)
    layer = ConvNorm(5, 3, activation=None)
    out = layer(x, training=True).numpy()
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2)), 1, atol=1e-3)
    with_relu = ConvNorm(5, 3)
    assert with_relu(x, training=True).numpy().min() == 0
