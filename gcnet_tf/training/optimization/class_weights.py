"""Class weights: factors on the loss of a pixel, one for each class."""

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.errors import UserError


def check_class_weights(config: Config) -> None:
    """Checks, before any long work, that a list has one weight for each class.

    Raises:
        UserError: when its length differs.
    """
    weights = config.train.class_weights
    classes = facts_of(config.data).classes
    if isinstance(weights, tuple) and len(weights) != len(classes):
        raise UserError(
            f"train.class_weights: received {len(weights)} numbers for the "
            f"{len(classes)} classes {', '.join(classes)}; give one per class in this "
            'order, "auto" or null.'
        )


def class_weights(config: Config, train: Manifest) -> tuple[float, ...] | None:
    """Returns the weights that `train.class_weights` describes; None for equal ones."""
    weights = config.train.class_weights
    if weights == "auto":
        return inverse_square_root(train.class_histogram)
    return weights


def inverse_square_root(histogram: tuple[int, ...]) -> tuple[float, ...]:
    """Computes weights in proportion to 1 / sqrt(pixels of the class).

    Roddick and Cipolla do so, too ("Pyramid Occupancy Networks", CVPR 2020). With the
    inverse itself, the few pixels of a rare class would dominate the loss.

    Args:
        histogram: number of pixels per class.

    Returns:
        One weight per class. The mean over the labelled pixels is 1, so that learning
        rates keep their meaning. A class without pixels gets 0, which is never used.

    Raises:
        UserError: when no pixel is labelled.
    """
    counts = np.array(histogram, np.float64)
    if not counts.any():
        raise UserError(
            'train.class_weights is "auto", but no training pixel has a class. Look at '
            "the labels with scripts/check_data.py --cfg CONFIG."
        )
    present = counts > 0
    weights = np.zeros_like(counts)
    weights[present] = 1 / np.sqrt(counts[present])
    weights *= counts.sum() / (counts @ weights)
    return tuple(weights.tolist())
