"""Losses that are sums over pixels: cross-entropy, that of hard pixels, and focal.

Each is a function of logits `(batch, height, width, num_classes)` and integer labels
`(batch, height, width)`, class ids or 255, and returns a scalar. Pixels labelled 255
contribute no loss and no gradient. Class weights are factors on a pixel's loss, one per
class; None for 1. Names of arguments and defaults are those of the configuration,
`config.schema_training.LOSS_SETTINGS`.
"""

from collections.abc import Sequence

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL


def cross_entropy(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    avg_non_ignore: bool = False,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Computes softmax cross-entropy, averaged over **all** pixels, ignored ones too.

    Pixels labelled 255 count in the divisor, as in the reference (mmsegmentation 0.x).
    To divide by the valid pixels only would give padded crops more weight.

    Args:
        logits: `(batch, height, width, num_classes)`.
        labels: integer `(batch, height, width)`, class ids or 255.
        class_weights: factor on a pixel's loss, per class; None for 1. The divisor is
            the number of pixels, as in mmsegmentation 0.x. (1.2.2 divides by the
            weights of all pixels, and fails where one is labelled 255.)
        avg_non_ignore: divides by the number of valid pixels of all replicas, or by the
            sum of their weights, as in PyTorch.
        label_smoothing: share of a label that all classes divide among them, each with
            its weight, as in PyTorch.

    Returns:
        A scalar.
    """
    logits, labels = _flat(logits, labels)
    losses = weighted(_entropies(logits, labels), labels, class_weights)
    if label_smoothing:
        losses *= 1 - label_smoothing
        losses += label_smoothing * _uniform_entropies(logits, labels, class_weights)
    if not avg_non_ignore:
        return tf.reduce_mean(losses)
    count = tf.reduce_sum(weighted(tf.ones_like(losses), labels, class_weights))
    # The mean of the replicas' losses is then the loss of the whole batch.
    count = tf.distribute.get_replica_context().all_reduce("MEAN", count)
    return tf.math.divide_no_nan(tf.reduce_sum(losses), count)


def _uniform_entropies(logits, labels, class_weights):
    """Returns each pixel's cross-entropy with a label that is 1 / num_classes of each.

    Class weights apply to its parts.
    """
    logs = tf.nn.log_softmax(logits)
    if class_weights is not None:
        logs *= tf.constant(class_weights, logs.dtype)
    return weighted(-tf.reduce_mean(logs, axis=-1), labels, None)


def ohem_sampler(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    threshold: float | None = None,
    min_kept: int = 100000,
) -> tf.Tensor:
    """Computes cross-entropy of hard pixels, averaged over all pixels.

    As the reference's OHEMPixelSampler with its CrossEntropyLoss.

    Args:
        logits, labels, class_weights: as in `cross_entropy`.
        threshold: pixels are hard whose own class has a smaller probability; where
            these are fewer than `min_kept`, those with the smallest. None: those with
            the largest loss, with class weights, exactly `min_kept`.
        min_kept: number of pixels, times the images of the replica.
    """
    kept = min_kept * tf.shape(labels)[0]
    logits, labels = _flat(logits, labels)
    entropies = _entropies(logits, labels)
    losses = weighted(entropies, labels, class_weights)
    if threshold is None:
        hard = _largest(losses, labels, kept)
    else:
        hard = _improbable(entropies, labels, threshold, kept)
    return tf.reduce_mean(tf.where(hard, losses, tf.zeros_like(losses)))


def ohem_cross_entropy(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    threshold: float = 0.7,
    min_kept: int = 100000,
) -> tf.Tensor:
    """Computes the mean cross-entropy of hard pixels, the reference's OhemCrossEntropy.

    Args:
        logits, labels, class_weights: as in `cross_entropy`.
        threshold: as in `ohem_sampler`.
        min_kept: number of pixels of the replica.
    """
    logits, labels = _flat(logits, labels)
    entropies = _entropies(logits, labels)
    hard = _improbable(entropies, labels, threshold, min_kept)
    losses = tf.where(
        hard, weighted(entropies, labels, class_weights), tf.zeros_like(entropies)
    )
    count = tf.reduce_sum(tf.cast(hard, losses.dtype))
    return tf.math.divide_no_nan(tf.reduce_sum(losses), count)


def _improbable(entropies, labels, threshold, kept) -> tf.Tensor:
    """Chooses labelled pixels whose own class has a small probability; bool."""
    valid = labels != IGNORE_LABEL
    # Ignored pixels come last.
    probabilities = tf.where(valid, tf.exp(-tf.stop_gradient(entropies)), 2.0)
    most = tf.minimum(kept + 1, tf.size(probabilities))
    smallest = -tf.math.top_k(-probabilities, most).values
    # Counted in int64: a GPU sums int32 in the memory of the host.
    num_valid = tf.reduce_sum(tf.cast(valid, tf.int64))
    place = tf.minimum(tf.cast(kept, tf.int64), num_valid - 1)
    limit = tf.maximum(tf.gather(smallest, tf.maximum(place, 0)), threshold)
    return valid & (probabilities < limit)


def _largest(losses, labels, kept) -> tf.Tensor:
    """Chooses the labelled pixels with the largest losses; bool."""
    valid = labels != IGNORE_LABEL
    size = tf.size(losses)
    order = tf.where(valid, tf.stop_gradient(losses), -1.0)
    places = tf.math.top_k(order, tf.minimum(kept, size)).indices
    # A scatter whose indices a GPU takes where they are.
    chosen = tf.math.unsorted_segment_sum(
        tf.ones_like(places, losses.dtype), places, size
    )
    return valid & (chosen > 0)


def focal(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    gamma: float = 2.0,
    alpha: float = 0.5,
) -> tf.Tensor:
    """Computes the sigmoid focal loss, averaged over all pixels and classes.

    Each class is a question of its own, to be answered with yes or no. Source: Lin et
    al., "Focal Loss for Dense Object Detection", ICCV 2017, as in the reference.

    Args:
        logits, labels: as in `cross_entropy`.
        class_weights: factor on each class's question.
        gamma: exponent of the probability of the wrong answer.
        alpha: weight of "yes" where it is right; that of "no" is 1 - alpha.
    """
    logits, labels = _flat(logits, labels)
    truth = one_hot(labels, logits)  # (pixels, num_classes)
    margin = (2 * truth - 1) * logits
    # As logarithms, so that no probability is rounded to 0 or 1.
    right, wrong = -tf.nn.softplus(-margin), -tf.nn.softplus(margin)
    losses = (
        -(alpha * truth + (1 - alpha) * (1 - truth)) * tf.exp(gamma * wrong) * right
    )
    if class_weights is not None:
        losses *= tf.constant(class_weights, losses.dtype)
    return tf.reduce_mean(weighted(tf.reduce_mean(losses, axis=-1), labels, None))


def _flat(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Flat before they are int32, which a GPU reshapes in the memory of the host.
    return tf.reshape(logits, [-1, logits.shape[-1]]), tf.reshape(labels, [-1])


def _entropies(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of each pixel; that of class 0 where it is ignored."""
    safe = tf.where(labels != IGNORE_LABEL, tf.cast(labels, tf.int32), 0)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=safe, logits=logits)


def one_hot(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns labels with a further axis for the classes of `logits`; 0 for 255."""
    return tf.one_hot(tf.cast(labels, tf.int32), logits.shape[-1], dtype=logits.dtype)


def weighted(
    losses: tf.Tensor, labels: tf.Tensor, class_weights: Sequence[float] | None
) -> tf.Tensor:
    """Multiplies losses per pixel by class weights; sets ignored pixels to 0."""
    valid = labels != IGNORE_LABEL
    if class_weights is not None:
        safe = tf.where(valid, tf.cast(labels, tf.int32), 0)
        losses *= tf.gather(tf.constant(class_weights, losses.dtype), safe)
    return tf.where(valid, losses, tf.zeros_like(losses))
