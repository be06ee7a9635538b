"""Memory of a step with Winograd's convolutions: of one layer, not of all."""

import subprocess
import sys

import pytest

from benchmarks.blocks.peak_memory import ENVIRONMENT
from benchmarks.workers import environment

PEAKS = """
import tensorflow as tf
from benchmarks.blocks.peak_memory import peak_bytes
from gcnet_tf.layers.convolution.trainable import trainable_winograd_conv2d

def peak(num_layers):
    kernels = [
        tf.Variable(0.03 * tf.random.normal((3, 3, 128, 128)))
        for _ in range(num_layers)
    ]
    images = tf.ones((1, 16, 16, 128))

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            outputs = images
            for kernel in kernels:
                outputs = tf.nn.relu(trainable_winograd_conv2d(outputs, kernel))
            loss = tf.reduce_sum(outputs)
        return tape.gradient(loss, kernels)

    return peak_bytes(gradients)

print(peak(2), peak(6))
"""


@pytest.mark.slow
def test_transforms_are_not_kept_from_layer_to_layer():
    result = subprocess.run(
        [sys.executable, "-c", PEAKS],
        env={**environment(), **ENVIRONMENT, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    two, six = map(int, result.stdout.split())
    # A layer's transformed kernel alone takes 2,359,296 bytes, its input 131,072.
    assert six - two < 4 * 2_359_296 / 2
