"""The non-local block (Wang et al., arXiv 1711.07971) as mmcv defines it."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers import by_rows
from gcnet_tf.layers.convolution.conv import Shape, SymmetricConv2D
from gcnet_tf.layers.convolution.conv_norm import ConvNorm
from gcnet_tf.layers.global_context import softmax

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


@keras.saving.register_keras_serializable("gcnet_tf")
class NonLocalBlock(keras.layers.Layer):
    """Gives every position its own mean over all positions, weighted by affinity.

    Input and output `(batch, height, width, channels)`. With 1x1 convolutions g, theta
    and phi: `inputs + norm(conv(sum over j of f(i, j) g(j)))` at position i, where the
    affinity f is one of

    * "embedded_gaussian": softmax over j of `theta(i) . phi(j)`, divided by
      sqrt(channels of theta) before with `use_scale`;
    * "gaussian": softmax over j of `inputs(i) . inputs(j)`;
    * "dot_product": `theta(i) . phi(j) / positions`;
    * "concatenation": `relu(w . [theta(i), phi(j)]) / positions`.

    The scale of the norm starts at zero, so that a new block changes nothing. (The
    paper's own repository multiplies by the root where mmcv divides.)

    The affinity is never there as a whole. Rows of it are computed, used and dropped,
    and computed again for the gradient; those that exist at a time take at most
    `by_rows.AFFINITY_BYTES`. `peak_bytes` bounds the whole block. The dot product needs
    none: the sum over j is done first.

    Args:
        ratio: channels of g, theta and phi as a share of the input's, in (0, 1].
        mode: the affinity, see above.
        use_scale: whether "embedded_gaussian" divides; the other modes ignore it.
        sub_sample: whether g and phi are halved in height and width, by the maximum.
        folded: whether this is the inference form (see `ConvNorm`).

    Raises:
        ValueError: for an unknown mode, and for an input so large that not even one
            row of the affinity fits (`tf.errors.InvalidArgumentError` where its size is
            known only when it runs).
    """

    def __init__(
        self,
        ratio: float = 0.5,
        mode: str = "embedded_gaussian",
        use_scale: bool = True,
        sub_sample: bool = False,
        folded: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}. Received: {mode}")
        self.ratio = ratio
        self.mode = mode
        self.use_scale = use_scale
        self.sub_sample = sub_sample
        self.folded = folded

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        assert channels is not None  # Keras cannot build a layer otherwise
        hidden = max(int(channels * self.ratio), 1)
        names = ["g"] if self.mode == "gaussian" else ["g", "theta", "phi"]
        for name in names:
            projection = SymmetricConv2D(
                hidden,
                use_bias=True,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                name=name,
                dtype=self.dtype_policy,
            )
            projection.build(input_shape)
            setattr(self, name, projection)
        if self.mode == "concatenation":
            # Only its kernel is used, in two halves.
            self.concat = SymmetricConv2D(1, name="concat", dtype=self.dtype_policy)
            self.concat.build((*input_shape[:-1], 2 * hidden))
        self.conv_out = ConvNorm(
            channels,
            activation=None,
            gamma_initializer="zeros",
            folded=self.folded,
            name="conv_out",
            dtype=self.dtype_policy,
        )
        self.conv_out.build((*input_shape[:-1], hidden))
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        gathered = self._gathered(inputs)  # (batch, height, width, hidden)
        return inputs + self.conv_out(gathered, training=training)

    def _gathered(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes each position's mean of the values, `(batch, height, width, …)`."""
        shape = tf.shape(inputs)
        queries, keys, values = self._project(inputs)
        if self.mode == "dot_product":
            positions = tf.cast(tf.shape(keys)[1], values.dtype)
            # (batch, hidden, hidden): the sum over the positions first
            sums = tf.matmul(keys, values / positions, transpose_a=True)
            gathered = queries @ sums  # (batch, positions, hidden)
        else:
            gather_rows = by_rows.gather_with_gradient
            if self.folded:
                known = queries.shape[0] == 1 and queries.shape[1] is not None
                unrolled, looped = by_rows.gather_unrolled, by_rows.gather_by_rows
                gather_rows = unrolled if known else looped
            gathered = gather_rows(self._gather, queries, keys, values)
        # (batch, height, width, hidden)
        return tf.reshape(gathered, [shape[0], shape[1], shape[2], values.shape[-1]])

    def attention(self, inputs: tf.Tensor, queries: Any) -> tf.Tensor:
        """Computes the weights with which some queries gather from all positions.

        Args:
            inputs: the block's input.
            queries: int `(n, 2)`, (row, column) of each query.

        Returns:
            `(batch, n, height, width)`, halved with `sub_sample`. A softmax's rows sum
            to 1; those of the other two modes do not, and may be negative.
        """
        shape = tf.shape(inputs)
        projected, keys, _ = self._project(inputs)
        queries = tf.convert_to_tensor(queries, tf.int32)
        positions = queries[:, 0] * shape[2] + queries[:, 1]  # (n,)
        chosen = tf.gather(projected, positions, axis=1)  # (batch, n, hidden)
        rows = self._affinity(chosen, keys)  # (batch, n, keys)
        step = 2 if self.sub_sample else 1
        size = [shape[0], len(queries), shape[1] // step, shape[2] // step]
        return tf.reshape(rows, size)  # (batch, n, height, width)

    def _project(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns queries, keys and values, each `(batch, positions, channels)`."""
        queries = keys = inputs
        if self.mode != "gaussian":
            queries, keys = self.theta(inputs), self.phi(inputs)
        values = self.g(inputs)
        if self.sub_sample:
            keys, values = (
                tf.nn.max_pool2d(features, ksize=2, strides=2, padding="VALID")
                for features in (keys, values)
            )
        queries, keys, values = map(_positions, (queries, keys, values))
        if self.mode == "concatenation":
            # w . [theta, phi] is a number of each query plus a number of each key:
            # (batch, positions, 1).
            kernel = tf.cast(self.concat.kernel[0, 0], queries.dtype)
            hidden = queries.shape[-1]
            queries, keys = queries @ kernel[:hidden], keys @ kernel[hidden:]
        return queries, keys, values

    def _affinity(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Returns `(batch, queries, keys)`."""
        num_keys = tf.shape(keys)[1]
        if self.mode == "concatenation":
            keys = tf.reshape(keys, [-1, 1, num_keys])  # (batch, 1, keys)
            return tf.nn.relu(queries + keys) / tf.cast(num_keys, queries.dtype)
        if self.mode == "embedded_gaussian" and self.use_scale:
            queries *= queries.shape[-1] ** -0.5
        scores = tf.matmul(queries, keys, transpose_b=True)  # (batch, queries, keys)
        if self.mode == "dot_product":
            return scores / tf.cast(num_keys, scores.dtype)
        return tf.cast(softmax(scores), queries.dtype)

    def _gather(
        self, queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
    ) -> tf.Tensor:
        return self._affinity(queries, keys) @ values

    def peak_bytes(self, input_shape: tuple[int, int, int, int]) -> int:
        """Bounds the memory that a forward pass takes beyond input and output.

        It holds in a `tf.function` on a processor, where convolutions of one position
        need no memory of their own.

        Args:
            input_shape: `(batch, height, width, channels)`.
        """
        batch, height, width, channels = input_shape
        # Queries, keys, values and once more queries, for equal parts; what is
        # gathered, in parts and joined.
        projected = 6
        hidden = max(int(channels * self.ratio), 1)
        # The convolution's output, before and after the norm, and its input.
        widest = max(projected * hidden, 2 * channels + hidden)
        size = max(tf.as_dtype(self.compute_dtype).size, 4)
        return by_rows.AFFINITY_BYTES + batch * height * width * widest * size

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "mode": self.mode,
            "use_scale": self.use_scale,
            "sub_sample": self.sub_sample,
            "folded": self.folded,
        }


def _positions(features: tf.Tensor) -> tf.Tensor:
    """Flattens `(batch, height, width, channels)` to `(batch, positions, channels)`."""
    shape = tf.shape(features)
    batch, height, width, channels = features.shape
    num_positions = shape[1] * shape[2] if None in (height, width) else height * width
    # (batch, positions, channels)
    return tf.reshape(features, [shape[0], num_positions, channels])
