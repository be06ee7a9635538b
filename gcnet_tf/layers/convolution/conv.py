"""Convolution as the reference model defines it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import DTypePolicy
from gcnet_tf.layers.convolution.trainable import direct_conv2d, trainable_conv2d
from gcnet_tf.layers.convolution.winograd import (
    fills_tiles,
    pays,
    transformed_conv2d,
    transformed_kernel,
)

PACKAGE = "gcnet_tf"

# (batch, height, width, channels) of a batch; None: known only when it runs.
Shape = tuple[int | None, ...]
# Computes a tensor.
Compute = Callable[[], tf.Tensor]
# A type, as "float32", or a policy of mixed types; None for Keras' global policy.
Policy = Any


def he_normal_fan_out() -> keras.initializers.Initializer:
    """Makes N(0, sqrt(2 / fan_out)), the reference's initialisation of convolutions.

    A function, because a Keras 3 initializer object returns the same values each time.
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_out", distribution="untruncated_normal"
    )


def exact_policy(policy: Policy, folded: bool) -> Policy:
    """Returns the policy of the layers that see pixels or give logits.

    In the inference form that is float32 also where all others are in 16 bits.
    """
    if folded and tf.as_dtype(policy.compute_dtype).size < 4:
        return DTypePolicy("float32")
    return policy


@keras.saving.register_keras_serializable(PACKAGE)
class SymmetricConv2D(keras.layers.Layer):
    """2-D convolution with zero padding that is equal on all sides, as in PyTorch.

    Input `(batch, height, width, channels)`, output
    `(batch, ceil(height / strides), ceil(width / strides), filters)`.

    `keras.layers.Conv2D` is not used because its "same" pads stride-2 convolutions on
    the wrong side of even inputs, and because its dilation becomes SPACE_TO_BATCH in
    TFLite and does not fold in ONNX (keras#17450).

    Args:
        filters: number of output channels.
        kernel_size: odd side length of the kernel.
        strides: 1 or 2; only 1 together with a dilation.
        dilation: distance between kernel taps, in positions.
        use_bias: whether to add a bias per output channel.
        kernel_initializer: initializer of the kernel; fan-out He normal if None.
        bias_initializer: initializer of the bias.
        winograd: whether Winograd's method is used where it is possible and faster, as
            it is on a processor (`uses_winograd`; in training, `trainable_conv2d`).
        folded: whether this is the inference form, whose pads are explicit: ONNX
            Runtime refuses "SAME" with a dilation and a size known only when it runs
            (onnxruntime#20582). A dilated one then has no gradient on a CPU.

    Raises:
        ValueError: for an even kernel, or a stride together with a dilation.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        strides: int = 1,
        dilation: int = 1,
        use_bias: bool = False,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        winograd: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd. Received: {kernel_size}")
        if strides > 1 and dilation > 1:
            raise ValueError(
                "strides and dilation cannot both exceed 1. "
                f"Received: strides={strides}, dilation={dilation}"
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation = dilation
        self.use_bias = use_bias
        self.winograd = winograd
        self.folded = folded
        self._is_constant = False
        self._keep: Callable[[Compute], Compute] | None = None
        self._kept: Compute | None = None
        self.kernel_initializer = (
            keras.initializers.get(kernel_initializer) or he_normal_fan_out()
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)

    def build(self, input_shape: Shape) -> None:
        size = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer=self.bias_initializer
            )
        self.built = True

    @property
    def uses_winograd(self) -> bool:
        """Tells whether a built layer, folded, computes large inputs by this method."""
        return (
            self.winograd
            and (self.kernel_size, self.strides) == (3, 1)
            and self.compute_dtype == "float32"
            and pays(*self.kernel.shape[2:])
        )

    def call(self, inputs: tf.Tensor | Sequence[tf.Tensor]) -> tf.Tensor:
        """Convolves `inputs`, or several joined on their channels."""
        parts = inputs if isinstance(inputs, Sequence) else [inputs]
        if self.folded and self.uses_winograd:
            outputs = self._choose(parts)
        else:
            joined = _joined(parts)
            outputs = self._convolve(joined, self._direct_kernel(joined.dtype))
        if self.bias is not None:
            outputs = tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype))
        return outputs  # (batch, height / strides, width / strides, filters)

    def fix_kernel(self) -> None:
        """Makes later calls ignore changes of the kernel of a folded layer.

        Winograd's form of it is computed once, and not in every run of a graph. The
        kernel of a direct convolution is a constant of every graph, which oneDNN packs
        once.
        """
        self._is_constant = not self.uses_winograd
        self.keep_transformed(_computed_now)

    def keep_transformed(self, keep: Callable[[Compute], Compute]) -> None:
        """Leaves to `keep` when Winograd's form of a folded layer's kernel is computed.

        Args:
            keep: receives what computes it, outside of graphs, and returns what gives
                its value in a graph. It is called for a layer whose inputs are large
                enough, once.
        """
        self._keep = keep

    def _direct_kernel(self, dtype: tf.DType) -> tf.Tensor:
        if not self._is_constant:
            return tf.cast(self.kernel, dtype)
        with tf.init_scope():  # a graph cannot read the values of a variable
            values = self.kernel.numpy()
        return tf.constant(values, dtype)

    def _transformed_kernel(self) -> tf.Tensor:
        def compute() -> tf.Tensor:
            return transformed_kernel(tf.convert_to_tensor(self.kernel))

        if self._keep is None:
            return compute()
        if self._kept is None:
            with tf.init_scope():
                self._kept = self._keep(compute)
        return self._kept()

    def _choose(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """Takes what is faster for one image, when its size is known.

        Not for the batch: an image's result must not depend on those beside it.
        """
        sides = list(parts[0].shape[1:3])
        if None in sides:
            sides = tf.unstack(tf.shape(parts[0])[1:3])  # () each
        fits = fills_tiles([1, *sides], self.dilation)

        def winograd() -> tf.Tensor:
            return transformed_conv2d(parts, self._transformed_kernel(), self.dilation)

        def direct() -> tf.Tensor:
            joined = _joined(parts)
            return self._convolve_directly(joined, self._direct_kernel(joined.dtype))

        if isinstance(fits, bool):
            return winograd() if fits else direct()
        outputs = tf.cond(fits, winograd, direct)
        return tf.ensure_shape(outputs, self.compute_output_shape(parts[0].shape))

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.winograd and self.strides == 1 and not self.folded:
            return trainable_conv2d(inputs, kernel, self.dilation)
        return self._convolve_directly(inputs, kernel)

    def _convolve_directly(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.kernel_size > 1 and (self.strides > 1 or self.folded):
            pad = self.dilation * (self.kernel_size - 1) // 2
            padding: Any = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
            if not self.folded:
                # oneDNN has no gradients with explicit padding, and in bfloat16 those
                # of TensorFlow itself took a fifth of an R50's training step.
                inputs, padding = tf.pad(inputs, padding), "VALID"
            return tf.nn.conv2d(
                inputs,
                kernel,
                strides=self.strides,
                padding=padding,
                dilations=self.dilation,
            )
        if self.strides > 1:  # of a 1x1 kernel, which needs no padding
            return tf.nn.conv2d(inputs, kernel, self.strides, padding="SAME")
        return direct_conv2d(inputs, kernel, self.dilation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        height, width = (
            None if side is None else -(-side // self.strides)
            for side in input_shape[1:3]
        )
        return (input_shape[0], height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation": self.dilation,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "winograd": self.winograd,
            "folded": self.folded,
        }


def _joined(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat(parts, axis=-1) if len(parts) > 1 else parts[0]


def _computed_now(compute: Compute) -> Compute:
    values = compute()
    return lambda: values
