"""The training loss."""

from collections.abc import Sequence

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL


def cross_entropy(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Softmax cross-entropy, averaged over **all** pixels, the ignored ones included.

    Pixels labelled 255 contribute no loss and no gradient, but count in the divisor:
    so does the reference (mmsegmentation 0.x), and dividing by the valid pixels only
    would weigh padded crops more.

    Args:
        logits: `(batch, height, width, num_classes)`.
        labels: integer `(batch, height, width)`, class ids or 255.
        class_weights: what a pixel's loss is multiplied by, per class; None for 1. The
            divisor stays the number of pixels, as in mmsegmentation 0.x. (1.2.2 divides
            by the weights of all pixels, and fails where one is labelled 255.)

    Returns:
        A scalar.
    """
    valid = labels != IGNORE_LABEL
    safe = tf.where(valid, tf.cast(labels, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)
    if class_weights is not None:
        losses *= tf.gather(tf.constant(class_weights, losses.dtype), safe)
    return tf.reduce_mean(tf.where(valid, losses, tf.zeros_like(losses)))
