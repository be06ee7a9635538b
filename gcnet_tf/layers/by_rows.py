"""The non-local gathering, some rows of the affinity at a time.

The affinity has positions x positions elements and is never there as a whole. Rows of
it are computed, used and dropped, and computed again for the gradient.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The affinity has positions x positions elements; so many bytes of it exist at once.
AFFINITY_BYTES = 2**24
# Copies of that part, at 4 bytes or more an element: scores, weights and the step
# between; for the gradient theirs as well.
_FORWARD_COPIES = 3
_GRADIENT_COPIES = 8

# Queries, keys and values of some rows to their gathered values.
Gather = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def gather_by_rows(
    gather: Gather, queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
    """Gathers for some rows of one sample at a time, as many as the bound allows."""
    shape = tf.shape(queries)
    batch, total = shape[0], shape[1]
    turns = _ceil(total, _rows_at_once(keys, _FORWARD_COPIES))
    # Equally many in all turns: ONNX has no list of parts of different sizes.
    rows = _ceil(total, turns)
    # (batch, turns * rows, hidden)
    queries = tf.pad(queries, [[0, 0], [0, turns * rows - total], [0, 0]])

    def step(
        turn: tf.Tensor, parts: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray]:
        # A sample by itself is a view of the memory, not a copy.
        sample = slice(turn // turns, turn // turns + 1)
        start = turn % turns * rows
        part = gather(
            queries[sample, start : start + rows], keys[sample], values[sample]
        )
        return turn + 1, parts.write(turn, part[0])  # (rows, channels)

    parts = _parts(batch * turns, values)
    _, parts = tf.while_loop(
        lambda turn, _: turn < batch * turns, step, [0, parts], parallel_iterations=1
    )
    stacked = parts.stack()  # (batch * turns, rows, channels)
    joined = tf.reshape(stacked, [batch, turns * rows, values.shape[-1]])
    return joined[:, :total]  # (batch, positions, channels)


def gather_unrolled(
    gather: Gather, queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
    """Gathers without a loop, for converters: one sample of a known size."""
    rows = _rows_at_once(keys, _FORWARD_COPIES)
    parts: list[tf.Tensor] = []
    for start in range(0, queries.shape[1], rows):
        # One after the other: a graph would compute all of them at once.
        with tf.control_dependencies(parts[-1:]):
            parts.append(gather(queries[:, start : start + rows], keys, values))
    return tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]


def gather_with_gradient(
    gather: Gather, queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
) -> tf.Tensor:
    """Gathers by rows, with a gradient that goes through the rows, too."""

    @tf.custom_gradient
    def function(
        queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tf.map_fn(
                lambda sample: _gradient_by_rows(gather, *sample),
                (queries, keys, values, upstream),
                fn_output_signature=(queries.dtype,) * 3,
                parallel_iterations=1,
            )

        return gather_by_rows(gather, queries, keys, values), gradient

    return function(queries, keys, values)


def _gradient_by_rows(
    gather: Gather,
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    upstream: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Computes the gradients of one sample, all `(positions, channels)`."""
    queries, keys, values, upstream = (
        sample[tf.newaxis]  # (1, positions, channels)
        for sample in (queries, keys, values, upstream)
    )
    rows = _rows_at_once(keys, _GRADIENT_COPIES)
    total = tf.shape(queries)[1]

    def step(
        start: tf.Tensor, parts: tf.TensorArray, *before: tf.Tensor
    ) -> tuple[tf.Tensor, tf.TensorArray, *tuple[tf.Tensor, ...]]:
        some = queries[:, start : start + rows]
        with tf.GradientTape() as tape:
            tape.watch([some, keys, values])
            gathered = gather(some, keys, values)
        part, *gradients = tape.gradient(
            gathered, [some, keys, values], upstream[:, start : start + rows]
        )
        sums = [old + tf.cast(new, old.dtype) for old, new in zip(before, gradients)]
        parts = parts.write(start // rows, part[0])  # (rows, channels)
        return start + rows, parts, *sums

    parts = _parts(_ceil(total, rows), queries)
    # Sums of many parts: too fine for 16-bit arithmetic.
    wide = tf.float32 if queries.dtype.size < 4 else queries.dtype
    sums = [tf.zeros_like(sample, wide) for sample in (keys, values)]
    _, parts, *sums = tf.while_loop(
        lambda start, *_: start < total, step, [0, parts, *sums], parallel_iterations=1
    )
    joined = parts.concat()  # (positions, channels)
    return joined, *(tf.cast(total[0], queries.dtype) for total in sums)


def _ceil(dividend: Any, divisor: Any) -> Any:
    """Divides and rounds up. (ONNX divides negative integers in another way.)"""
    return (dividend + divisor - 1) // divisor


def _parts(count: tf.Tensor, like: tf.Tensor) -> tf.TensorArray:
    """Makes room for `count` results of a loop, `(rows, channels of like)` each."""
    return tf.TensorArray(
        like.dtype, count, element_shape=[None, like.shape[-1]], infer_shape=False
    )


def _rows_at_once(keys: tf.Tensor, copies: int) -> int | tf.Tensor:
    """Returns how many rows of the affinity fit into `AFFINITY_BYTES`, as copies."""
    limit = AFFINITY_BYTES // (copies * max(keys.dtype.size, 4))
    sentence = (
        f"A non-local block takes at most {limit} positions: a row of its affinity has "
        f"as many numbers, and must fit into {AFFINITY_BYTES} bytes. Take smaller "
        "images or windows, or sub_sample. Received:"
    )
    num_keys = keys.shape[1]
    if num_keys is not None:
        if num_keys > limit:
            raise ValueError(f"{sentence} {num_keys}.")
        return limit // num_keys
    num_keys = tf.shape(keys)[1]
    fits = tf.debugging.Assert(num_keys <= limit, [sentence, num_keys])
    with tf.control_dependencies([] if fits is None else [fits]):
        return limit // num_keys
