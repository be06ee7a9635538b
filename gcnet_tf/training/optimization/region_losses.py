"""Losses of regions, which compare a class's pixels as a whole: Dice, Tversky, Lovász.

Arguments and results are those of `pixel_losses`.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.training.optimization.pixel_losses import one_hot

_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "sigmoid": tf.nn.sigmoid,
    "softmax": tf.nn.softmax,
}


def dice(
    logits: tf.Tensor,
    labels: tf.Tensor,
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
    naive: bool = False,
    smooth: float = 1e-3,
) -> tf.Tensor:
    """Computes 1 - Dice, of all classes of an image together; the mean over the images.

    Pixels labelled 255 belong to no class, and **count**: their probabilities are in
    the denominator, as in the reference. Source: Milletari et al., "V-Net", 3DV 2016.

    Args:
        logits, labels: as in `pixel_losses`.
        activation: function from logits to probabilities.
        naive: whether the denominator has probabilities in place of their squares.
        smooth: added to each sum of squares; if naive, to numerator and denominator.
    """
    found = _ACTIVATIONS[activation](logits)
    truth = one_hot(labels, logits)  # (batch, height, width, num_classes)

    def total(values):
        return tf.reduce_sum(values, axis=[1, 2, 3])  # (batch,)

    shared = 2 * total(found * truth)
    if naive:
        scores = (shared + smooth) / (total(found) + total(truth) + smooth)
    else:
        scores = shared / (total(found**2) + total(truth**2) + 2 * smooth)
    return tf.reduce_mean(1 - scores)


def tversky(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    alpha: float = 0.3,
    smooth: float = 1.0,
) -> tf.Tensor:
    """Computes 1 - Tversky index; the mean over the classes and the images.

    Source: Salehi et al., "Tversky loss function for image segmentation", MLMI 2017.

    Args:
        logits, labels: as in `pixel_losses`.
        class_weights: factor on the loss of a class; the divisor is their number.
        alpha: weight of false positives; that of false negatives is 1 - alpha.
        smooth: added to numerator and denominator.
    """
    truth = one_hot(labels, logits)
    valid = tf.cast(labels != IGNORE_LABEL, logits.dtype)[..., tf.newaxis]
    found = tf.nn.softmax(logits)

    def total(values):
        return tf.reduce_sum(values, axis=[1, 2])  # (batch, num_classes)

    right = total(found * truth) + smooth
    too_many = total(found * (1 - truth) * valid)
    too_few = total((1 - found) * truth)
    losses = 1 - right / (right + alpha * too_many + (1 - alpha) * too_few)
    if class_weights is not None:
        losses *= tf.constant(class_weights, losses.dtype)
    return tf.reduce_mean(losses)


def lovasz(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    classes: Literal["present", "all"] = "present",
    per_image: bool = False,
) -> tf.Tensor:
    """Computes the Lovász-softmax loss, which follows the IoU; the mean over classes.

    It sorts all pixels by their errors, class after class. Beside the logits it needs
    one more tensor of their size, and a few of the size of the labels. Source: Berman
    et al., "The Lovász-Softmax loss", CVPR 2018.

    Args:
        logits, labels: as in `pixel_losses`.
        class_weights: factor on the loss of a class; the divisor is their number.
        classes: "present": classes in the labels; "all": a class that is absent has the
            loss of its largest probability.
        per_image: whether to take the mean over the images, in which an image without a
            labelled pixel is 0. False: the images of the replica are one large image.
    """
    num_classes = logits.shape[-1]
    probabilities = tf.nn.softmax(logits)
    if not per_image:
        return _lovasz_flat(
            tf.reshape(probabilities, [-1, num_classes]),
            tf.reshape(labels, [-1]),
            class_weights,
            classes,
        )
    losses = [
        _lovasz_flat(
            tf.reshape(image, [-1, num_classes]),
            tf.reshape(label, [-1]),
            class_weights,
            classes,
        )
        for image, label in zip(tf.unstack(probabilities), tf.unstack(labels))
    ]
    return tf.add_n(losses) / len(losses)


def _lovasz_flat(probabilities, labels, class_weights, classes) -> tf.Tensor:
    """Computes the loss of pixels (pixels, num_classes) with labels (pixels,).

    In the order of its errors, the loss of a class is linear. Hence it is enough to
    keep each pixel's factor, and no gradient needs to pass through the sorting.
    """
    num_classes, dtype = probabilities.shape[-1], probabilities.dtype
    num_pixels = tf.size(labels)
    valid = labels != IGNORE_LABEL
    constant = tf.stop_gradient(probabilities)
    weights = tf.constant(class_weights or (1.0,) * num_classes, dtype)

    def factors_of(class_id):
        """Returns the value at probability 0, and the slope of each pixel."""
        inside = labels == tf.cast(class_id, labels.dtype)
        truth = tf.cast(inside, dtype)
        of_class = constant[:, class_id]
        # Ignored pixels come last, where the factor is 0.
        errors = tf.where(valid, tf.where(inside, 1 - of_class, of_class), -1.0)
        order = tf.math.top_k(errors, num_pixels).indices
        factors = _jaccard_steps(tf.gather(truth, order))
        # A scatter whose indices a GPU takes where they are.
        factors = tf.math.unsorted_segment_sum(factors, order, num_pixels)
        factors = tf.where(valid, factors * weights[class_id], 0.0)
        count = tf.reduce_sum(truth)
        counts = (
            tf.cast(count > 0, dtype) if classes == "present" else tf.ones_like(count)
        )
        factors *= counts
        return (
            tf.reduce_sum(factors * truth),
            tf.where(inside, -factors, factors),
            counts,
        )

    # One class at a time, so that the memory is that of one.
    values, slopes, counts = tf.map_fn(
        factors_of,
        tf.range(num_classes),
        fn_output_signature=(
            tf.TensorSpec([], dtype),
            tf.TensorSpec([None], dtype),
            tf.TensorSpec([], dtype),
        ),
        parallel_iterations=1,
    )
    total = tf.reduce_sum(values) + tf.reduce_sum(
        tf.transpose(tf.stop_gradient(slopes)) * probabilities
    )
    return tf.math.divide_no_nan(total, tf.reduce_sum(counts))


def _jaccard_steps(truth: tf.Tensor) -> tf.Tensor:
    """Returns by how much each pixel lowers the IoU, if the first ones are wrong.

    Args:
        truth: 1 for the pixels of the class, 0 for others, by falling error.
    """
    left = tf.reduce_sum(truth) - tf.cumsum(truth)
    union = tf.reduce_sum(truth) + tf.cumsum(1 - truth)
    lost = 1 - left / union
    return lost - tf.concat([tf.zeros_like(lost[:1]), lost[:-1]], axis=0)
