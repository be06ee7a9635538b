"""Kernels that TensorFlow has on this machine, and their precision."""

from functools import cache

import tensorflow as tf

from gcnet_tf.processor import instruction_sets

# TensorFlow's kernels. On x86 processors TensorFlow chooses oneDNN's by itself only
# where there are instructions for neural networks (AVX-512 VNNI, AVX-VNNI, bf16, AMX).
# A processor with AVX2 alone behaves like any other one under TF_ENABLE_ONEDNN_OPTS=0.


@cache
def has_dilated_gradient(dtype: tf.DType) -> bool:
    """Tells whether `tf.nn.conv2d` has a gradient when dilated (tensorflow#28264).

    On a CPU only oneDNN's kernels have this gradient: never for float64, and for 16-bit
    types only where the processor supports them. On a GPU all kernels have it.
    """
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


@cache
def bfloat16_rate() -> float:
    """Tells how often a processor multiplies bfloat16 in the time of one float32.

    By oneDNN's kernels. Without an instruction for it the type is emulated, at a third
    of float32's rate at most (measured in docs/speed.md).
    """
    # The gradient tells whether oneDNN computes this type here.
    sets = instruction_sets() if has_dilated_gradient(tf.bfloat16) else []
    if "amx_bf16" in sets:
        return 16
    return 2 if "avx512_bf16" in sets else 1 / 3


def lacking(dtype: tf.DType) -> str:
    """Describes the computation that is slower on this machine; "" where none is."""
    if has_dilated_gradient(dtype):
        return ""
    return (
        f"TensorFlow has no gradient of dilated {dtype.name} convolutions here (its "
        "oneDNN kernels are off, or lack the type): they go by space-to-batch, slower"
    )


# TF32: from Ampere on (compute capability 8.0) NVIDIA's GPUs can compute float32
# convolutions and matrix products from inputs rounded to 10 bits behind the point.


def use_tf32(on: bool) -> None:
    """Lets the GPUs of this process compute float32 in TF32, or not."""
    tf.config.experimental.enable_tensor_float_32_execution(on)


def tf32_text() -> str:
    """Says whether TF32 is on, for the log; "" where no GPU has it."""
    details = tf.config.experimental.get_device_details
    gpus = tf.config.list_physical_devices("GPU")
    if all(details(gpu).get("compute_capability", (0, 0)) < (8, 0) for gpu in gpus):
        return ""
    if tf.config.experimental.tensor_float_32_execution_enabled():
        return (
            "TF32 is on: GPUs round the inputs of float32 convolutions and products to "
            "10 bits behind the point, and are several times as fast; for all 23 bits: "
            "--set train.tf32=false"
        )
    return "TF32 is off: GPUs compute float32 with all its bits"
