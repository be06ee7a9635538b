"""What TensorFlow's kernels cannot compute on this machine: asked once, told once.

On x86 processors TensorFlow takes oneDNN's kernels by itself only where there are
instructions for neural networks (AVX-512 VNNI, AVX-VNNI, bf16, AMX). A processor with
AVX2 alone is like any other one with TF_ENABLE_ONEDNN_OPTS=0.
"""

from functools import cache

import tensorflow as tf


@cache
def has_dilated_gradient(dtype: tf.DType) -> bool:
    """Tells whether `tf.nn.conv2d` has a gradient when dilated (tensorflow#28264).

    On a CPU only oneDNN's kernels have one: never for float64, and for 16-bit types
    only where the processor knows them.
    """
    if tf.config.list_physical_devices("GPU"):
        return True
    with tf.init_scope():
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 3, 3, 1],
                filter=tf.ones([3, 3, 1, 1], dtype),
                out_backprop=tf.ones([1, 3, 3, 1], dtype),
                strides=[1, 1, 1, 1],
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except tf.errors.OpError:
            return False
    return True


def lacking(dtype: tf.DType) -> str:
    """Describes what is computed in another, slower way here; "" for nothing."""
    if has_dilated_gradient(dtype):
        return ""
    return (
        f"TensorFlow has no gradient of dilated {dtype.name} convolutions here (its "
        "oneDNN kernels are off, or lack the type): they go by space-to-batch, slower"
    )
