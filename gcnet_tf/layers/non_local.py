"""The non-local block (Wang et al., arXiv 1711.07971) as mmcv defines it."""

from collections.abc import Callable

import keras
import tensorflow as tf

from gcnet_tf.layers.conv import SymmetricConv2D
from gcnet_tf.layers.conv_norm import ConvNorm
from gcnet_tf.layers.global_context import softmax

MODES = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")
# Of the affinity, which has positions x positions elements, so much exists at once.
AFFINITY_BYTES = 2**24
# So often that part exists, at 4 bytes or more each: scores, weights and what lies
# between; for the gradient theirs as well.
_FORWARD_COPIES = 3
_GRADIENT_COPIES = 8


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
    and computed again for the gradient; all that exists of it at a time takes at most
    `AFFINITY_BYTES`. `peak_bytes` bounds the whole block. The dot product needs none:
    the sum over j is done first.

    Args:
        ratio: channels of g, theta and phi as a share of the input's, in (0, 1].
        mode: the affinity, see above.
        use_scale: whether "embedded_gaussian" divides; the others do not heed it.
        sub_sample: whether g and phi are halved in height and width, by the maximum.
        folded: whether this is the inference form (see `ConvNorm`).

    Raises:
        ValueError: for an unknown mode, and for an input of which not even one row of
            the affinity fits (`tf.errors.InvalidArgumentError` where its size is known
            only when it runs).
    """

    def __init__(
        self,
        ratio: float = 0.5,
        mode: str = "embedded_gaussian",
        use_scale: bool = True,
        sub_sample: bool = False,
        folded: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}. Received: {mode}")
        self.ratio = ratio
        self.mode = mode
        self.use_scale = use_scale
        self.sub_sample = sub_sample
        self.folded = folded

    def build(self, input_shape):
        channels = input_shape[-1]
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

    def call(self, inputs, training=False):
        return inputs + self.conv_out(self._gathered(inputs), training=training)

    def _gathered(self, inputs):
        """Each position's mean of the values, `(batch, height, width, channels)`."""
        shape = tf.shape(inputs)
        queries, keys, values = self._project(inputs)
        if self.mode == "dot_product":
            number = tf.cast(tf.shape(keys)[1], values.dtype)
            gathered = queries @ tf.matmul(keys, values / number, transpose_a=True)
        else:
            by_rows = _with_gradient_by_rows
            if self.folded:
                known = queries.shape[0] == 1 and queries.shape[1] is not None
                by_rows = _unrolled_by_rows if known else _gather_by_rows
            gathered = by_rows(self._gather, queries, keys, values)
        return tf.reshape(gathered, [shape[0], shape[1], shape[2], values.shape[-1]])

    def attention(self, inputs, queries):
        """How much some positions take from each position.

        Args:
            inputs: what the block is called with.
            queries: int `(n, 2)`, (row, column) of the positions that ask.

        Returns:
            `(batch, n, height, width)`, halved with `sub_sample`. A softmax's rows sum
            to 1; those of the other two modes do not, and may be negative.
        """
        shape = tf.shape(inputs)
        asking, keys, _ = self._project(inputs)
        queries = tf.convert_to_tensor(queries, tf.int32)
        places = queries[:, 0] * shape[2] + queries[:, 1]
        rows = self._affinity(tf.gather(asking, places, axis=1), keys)
        step = 2 if self.sub_sample else 1
        size = [shape[0], len(queries), shape[1] // step, shape[2] // step]
        return tf.reshape(rows, size)

    def _project(self, inputs):
        """Returns queries, keys and values, each `(batch, positions, channels)`."""
        queries = keys = inputs
        if self.mode != "gaussian":
            queries, keys = self.theta(inputs), self.phi(inputs)
        values = self.g(inputs)
        if self.sub_sample:
            keys, values = (
                tf.nn.max_pool2d(each, ksize=2, strides=2, padding="VALID")
                for each in (keys, values)
            )
        queries, keys, values = (_positions(each) for each in (queries, keys, values))
        if self.mode == "concatenation":
            # w . [theta, phi] is a number of each query plus a number of each key.
            kernel = tf.cast(self.concat.kernel[0, 0], queries.dtype)
            hidden = queries.shape[-1]
            queries, keys = queries @ kernel[:hidden], keys @ kernel[hidden:]
        return queries, keys, values

    def _affinity(self, queries, keys):
        """Returns `(batch, queries, keys)`."""
        number = tf.shape(keys)[1]
        if self.mode == "concatenation":
            keys = tf.reshape(keys, [-1, 1, number])
            return tf.nn.relu(queries + keys) / tf.cast(number, queries.dtype)
        if self.mode == "embedded_gaussian" and self.use_scale:
            queries *= queries.shape[-1] ** -0.5
        scores = tf.matmul(queries, keys, transpose_b=True)
        if self.mode == "dot_product":
            return scores / tf.cast(number, scores.dtype)
        return tf.cast(softmax(scores), queries.dtype)

    def _gather(self, queries, keys, values):
        return self._affinity(queries, keys) @ values

    def peak_bytes(self, input_shape) -> int:
        """A bound of the memory that a forward pass takes beyond input and output.

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
        return AFFINITY_BYTES + batch * height * width * widest * size

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "mode": self.mode,
            "use_scale": self.use_scale,
            "sub_sample": self.sub_sample,
            "folded": self.folded,
        }


def _positions(features):
    """`(batch, height, width, channels)` to `(batch, positions, channels)`."""
    shape = tf.shape(features)
    batch, height, width, channels = features.shape
    if None in (height, width):
        return tf.reshape(features, [shape[0], shape[1] * shape[2], channels])
    return tf.reshape(features, [shape[0], height * width, channels])


Gather = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def _gather_by_rows(gather: Gather, queries, keys, values):
    """`gather` for some rows of one sample at a time, as many as the bound allows."""
    shape = tf.shape(queries)
    batch, total = shape[0], shape[1]
    turns = _ceil(total, _rows_at_once(keys, _FORWARD_COPIES))
    # Equally many in all turns: ONNX has no list of parts of different sizes.
    rows = _ceil(total, turns)
    queries = tf.pad(queries, [[0, 0], [0, turns * rows - total], [0, 0]])

    def step(turn, parts):
        # A sample by itself is a view of the memory, not a copy.
        sample = slice(turn // turns, turn // turns + 1)
        start = turn % turns * rows
        part = gather(
            queries[sample, start : start + rows], keys[sample], values[sample]
        )
        return turn + 1, parts.write(turn, part[0])

    parts = _parts(batch * turns, values)
    _, parts = tf.while_loop(
        lambda turn, _: turn < batch * turns, step, [0, parts], parallel_iterations=1
    )
    joined = tf.reshape(parts.stack(), [batch, turns * rows, values.shape[-1]])
    return joined[:, :total]


def _unrolled_by_rows(gather: Gather, queries, keys, values):
    """The same without a loop, for converters: one sample of a known size."""
    rows = _rows_at_once(keys, _FORWARD_COPIES)
    parts: list[tf.Tensor] = []
    for start in range(0, queries.shape[1], rows):
        # One after the other: a graph would compute all of them at once.
        with tf.control_dependencies(parts[-1:]):
            parts.append(gather(queries[:, start : start + rows], keys, values))
    return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]


def _with_gradient_by_rows(gather: Gather, queries, keys, values):
    """`_gather_by_rows` whose gradient goes through the rows, too."""

    @tf.custom_gradient
    def function(queries, keys, values):
        def gradient(upstream):
            return tf.map_fn(
                lambda sample: _gradient_by_rows(gather, *sample),
                (queries, keys, values, upstream),
                fn_output_signature=(queries.dtype,) * 3,
                parallel_iterations=1,
            )

        return _gather_by_rows(gather, queries, keys, values), gradient

    return function(queries, keys, values)


def _gradient_by_rows(gather: Gather, queries, keys, values, upstream):
    """Of one sample, each without its first axis."""
    queries, keys, values, upstream = (
        each[tf.newaxis] for each in (queries, keys, values, upstream)
    )
    rows = _rows_at_once(keys, _GRADIENT_COPIES)
    total = tf.shape(queries)[1]

    def step(start, parts, *before):
        asking = queries[:, start : start + rows]
        with tf.GradientTape() as tape:
            tape.watch([asking, keys, values])
            gathered = gather(asking, keys, values)
        part, *gradients = tape.gradient(
            gathered, [asking, keys, values], upstream[:, start : start + rows]
        )
        sums = [old + tf.cast(new, old.dtype) for old, new in zip(before, gradients)]
        return start + rows, parts.write(start // rows, part[0]), *sums

    parts = _parts(_ceil(total, rows), queries)
    # Sums of many parts: too fine for 16-bit arithmetic.
    wide = tf.float32 if queries.dtype.size < 4 else queries.dtype
    sums = [tf.zeros_like(each, wide) for each in (keys, values)]
    _, parts, *sums = tf.while_loop(
        lambda start, *_: start < total, step, [0, parts, *sums], parallel_iterations=1
    )
    return parts.concat(), *(tf.cast(each[0], queries.dtype) for each in sums)


def _ceil(number, divisor):
    """Division, rounded up. (ONNX divides negative integers in another way.)"""
    return (number + divisor - 1) // divisor


def _parts(number, like):
    """Where a loop puts `(rows, channels)` each time, with the channels of `like`."""
    return tf.TensorArray(
        like.dtype, number, element_shape=[None, like.shape[-1]], infer_shape=False
    )


def _rows_at_once(keys, copies):
    """How many rows of the affinity fit into `AFFINITY_BYTES`; an int if it can be."""
    most = AFFINITY_BYTES // (copies * max(keys.dtype.size, 4))
    sentence = (
        f"A non-local block takes at most {most} positions: a row of its affinity has "
        f"as many numbers, and must fit into {AFFINITY_BYTES} bytes. Take smaller "
        "images or windows, or sub_sample. Received:"
    )
    number = keys.shape[1]
    if number is not None:
        if number > most:
            raise ValueError(f"{sentence} {number}.")
        return most // number
    number = tf.shape(keys)[1]
    fits = tf.debugging.Assert(number <= most, [sentence, number])
    with tf.control_dependencies([] if fits is None else [fits]):
        return most // number
