"""The training loss."""

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy, averaged over **all** pixels, the ignored ones included.

    Pixels labelled 255 contribute no loss and no gradient, but count in the divisor:
    so does the reference (mmsegmentation 0.x), and dividing by the valid pixels only
    would weigh padded crops more.

    Args:
        logits: `(batch, height, width, num_classes)`.
        labels: integer `(batch, height, width)`, class ids or 255.

    Returns:
        A scalar.
    """
    valid = labels != IGNORE_LABEL
    safe = tf.where(valid, tf.cast(labels, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)
    return tf.reduce_mean(tf.where(valid, losses, tf.zeros_like(losses)))
