"""A loss of boundaries: wrong pixels count by how far they are from them.

Arguments and results are those of `pixel_losses`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import tensorflow as tf

from gcnet_tf.training.optimization.pixel_losses import one_hot


def hausdorff(
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
) -> tf.Tensor:
    """Computes the loss of distance transforms, an estimate of the Hausdorff distance.

    For each class but the first one, which is the background, the mean over the pixels
    of (probability - truth)^2 (d_found^2 + d_true^2). d_true is the distance of a pixel
    of the class, in pixels, to the nearest one that is not of it, and 0 for all others;
    d_found the same in the classes that the network finds. The sum is divided by the
    number of all classes, as in the reference.

    Pixels labelled 255 are of no class, and **count**, as in the reference. With two
    classes the loss is its `HuasdorffDisstanceLoss`; with more, that of each class
    beside all others. (It compares probabilities with class ids there, and fails with
    class weights.) A class that fills an image has no boundary there, and the distance
    0. The distances are computed on the processor, by OpenCV. Source: Ma et al., "How
    distance transform maps boost segmentation CNNs", MIDL 2020.

    Args:
        logits, labels: as in `pixel_losses`.
        class_weights: factor on the loss of a class.
    """
    num_classes = logits.shape[-1]
    found, truth = tf.nn.softmax(logits)[..., 1:], one_hot(labels, logits)[..., 1:]
    distances = tf.numpy_function(
        _summed_squared_distances,
        [tf.argmax(logits, -1, tf.int32), tf.cast(labels, tf.int32), num_classes],
        tf.float32,
        stateful=False,
    )
    distances = tf.cast(tf.ensure_shape(distances, found.shape), logits.dtype)
    losses = tf.reduce_mean((found - truth) ** 2 * distances, axis=[0, 1, 2])
    if class_weights is not None:
        losses *= tf.constant(class_weights[1:], losses.dtype)
    return tf.reduce_sum(losses) / num_classes


def _summed_squared_distances(
    found: np.ndarray, true: np.ndarray, num_classes: int
) -> np.ndarray:
    """Adds the squared distances inside the classes of two segmentations.

    Args:
        found, true: class ids (batch, height, width).
        num_classes: number of classes; the first one is left out.

    Returns:
        float32 (batch, height, width, num_classes - 1); whole numbers.
    """
    sums = np.zeros((*found.shape, num_classes - 1), np.float32)
    for segmentation in (found, true):
        for image, ids in zip(sums, segmentation):
            for class_id in np.unique(ids):
                if 0 < class_id < num_classes:
                    image[..., class_id - 1] += _squared_distances(ids == class_id)
    return sums


def _squared_distances(mask: np.ndarray) -> np.ndarray:
    if mask.all():
        return np.zeros(mask.shape, np.float32)
    distances = cv2.distanceTransform(
        mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # They are roots of whole numbers, rounded.
    return np.rint(distances**2)
