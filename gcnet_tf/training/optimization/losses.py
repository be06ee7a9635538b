"""Training losses: sums of the reference's, and losses of Keras."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.config.schema_training import UNWEIGHTED_LOSSES, LossConfig
from gcnet_tf.data.catalog import IGNORE_LABEL, facts_of
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.extensions.classes import is_of_keras
from gcnet_tf.extensions.named import make
from gcnet_tf.training.optimization.boundary_losses import hausdorff
from gcnet_tf.training.optimization.pixel_losses import (
    cross_entropy,
    focal,
    ohem_cross_entropy,
    ohem_sampler,
    weighted,
)
from gcnet_tf.training.optimization.region_losses import dice, lovasz, tversky

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# By the kind of a term in the configuration.
LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "cross_entropy": cross_entropy,
    "ohem_sampler": ohem_sampler,
    "ohem_cross_entropy": ohem_cross_entropy,
    "focal": focal,
    "dice": dice,
    "tversky": tversky,
    "lovasz": lovasz,
    "hausdorff": hausdorff,
}
# Losses in which pixels labelled 255 count, as in the reference.
COUNTING_IGNORED = ("dice", "hausdorff")


def make_loss(config: Config, class_weights: Sequence[float] | None = None) -> Loss:
    """Makes the loss that `config` describes, a function of logits and labels.

    Raises:
        UserError: when a named loss fails with labels of which some are 255.
    """
    if config.train.losses:
        return _sum_of(config.train.losses, class_weights)
    if config.train.loss is None:
        return partial(cross_entropy, class_weights=class_weights)
    loss = make("loss", asdict(config.train.loss), "train.loss")
    _check_takes_logits(loss)
    loss_of = partial(keras_loss, loss, class_weights=class_weights)
    num_classes, name = len(facts_of(config.data).classes), type(loss).__name__
    failure, counts_ignored = _try(loss_of, num_classes)
    if not failure:
        if counts_ignored:
            warnings.warn(
                f"train.loss: {name} counts pixels that are not labelled.", stacklevel=2
            )
        return loss_of
    loss_of = partial(loss_of, ids_in_range=True)
    if any(_try(loss_of, num_classes)):
        raise UserError(
            f"train.loss: {name} fails with class ids (batch, height, width), of which "
            "some are not labelled, and logits (batch, height, width, classes): "
            f"{failure}. Name a class of your own that calls it with what it needs; "
            "docs/addons.md has an example."
        )
    return loss_of


def _sum_of(terms: Sequence[LossConfig], class_weights: Sequence[float] | None) -> Loss:
    """Makes the weighted sum of terms, each with the class weights if it has any."""
    functions = []
    for term in terms:
        arguments = term.given()
        if term.kind not in UNWEIGHTED_LOSSES:
            arguments["class_weights"] = class_weights
        functions.append((term.weight, partial(LOSSES[term.kind], **arguments)))
    for kind in {term.kind for term in terms}.intersection(COUNTING_IGNORED):
        warnings.warn(
            f"train.losses: {kind} counts pixels that are not labelled, as in the "
            "reference.",
            stacklevel=3,
        )

    def loss_of(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        if logits.dtype != tf.float64:
            logits = tf.cast(logits, tf.float32)
        return tf.add_n([weight * loss(logits, labels) for weight, loss in functions])

    return loss_of


def _check_takes_logits(loss: keras.losses.Loss) -> None:
    if is_of_keras(type(loss)) and loss.get_config().get("from_logits") is False:
        raise UserError(
            f"train.loss: {type(loss).__name__} takes probabilities, and the network "
            'gives logits; add "from_logits": true to train.loss.config.'
        )


def _try(loss_of: Loss, num_classes: int) -> tuple[str, bool]:
    """Tries a loss with pixels that are not labelled.

    Returns:
        Why it fails, or ""; and whether such pixels have a gradient.
    """
    # All sizes differ, so that nothing is broadcast by mistake.
    labels = np.resize(
        [*range(num_classes), IGNORE_LABEL], (2, num_classes + 2, num_classes + 1)
    )
    labels[1] = IGNORE_LABEL  # a whole image, as a crop can be
    values = np.random.default_rng(0).normal(size=(*labels.shape, num_classes))
    # A GPU returns zeros or NaN where a CPU refuses a label that is out of range.
    with tf.device("CPU:0"), tf.GradientTape() as tape:
        logits = tf.constant(values, tf.float32)
        tape.watch(logits)
        try:
            value = loss_of(logits, tf.constant(labels, tf.uint8))
            gradient = tape.gradient(value, logits)
            # As in training; types of numbers are stricter in a graph.
            specs = tf.TensorSpec(values.shape), tf.TensorSpec(labels.shape, tf.uint8)
            tf.function(loss_of).get_concrete_function(*specs)
        except UserError:
            raise
        # A class of the user may raise any exception.
        except Exception as error:
            return first_line(error), False
    if gradient is None:
        return "it has no gradient", False
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        return "its value or its gradient is not finite", False
    return "", bool(np.any(gradient.numpy()[labels == IGNORE_LABEL]))


def keras_loss(
    loss: keras.losses.Loss,
    logits: tf.Tensor,
    labels: tf.Tensor,
    class_weights: Sequence[float] | None = None,
    ids_in_range: bool = False,
) -> tf.Tensor:
    """Computes a Keras loss, as the mean of all values that it returns.

    Args:
        loss: its `call` takes labels, int32 (Keras' own losses: int64) with 255 where
            a pixel is not labelled, and logits. It returns values per pixel `(batch,
            height, width)`, per image, or a scalar.
        logits, labels, class_weights: as in `cross_entropy`. Only values per pixel are
            weighted, and are set to 0 where a pixel is not labelled.
        ids_in_range: whether the loss gets 0 in place of 255.

    Returns:
        A scalar.

    Raises:
        UserError: when there are class weights, but the loss has no values per pixel.
    """
    labels = tf.cast(labels, tf.int64)  # a GPU compares int32 in the host's memory
    given = labels
    if ids_in_range:
        given = tf.where(labels == IGNORE_LABEL, tf.zeros_like(labels), labels)
    if not is_of_keras(type(loss)):
        # tf.where(labels == 255, 0, labels) fails with int64: 0 becomes int32.
        given = tf.cast(given, tf.int32)
    # `call`, because the object itself would reduce the values, and each version of
    # Keras does so in its own way.
    values = tf.cast(loss.call(given, logits), logits.dtype)
    if values.shape.rank == labels.shape.rank:
        values = weighted(values, labels, class_weights)
    elif class_weights is not None:
        raise UserError(
            f"train.class_weights: received weights, but {type(loss).__name__} of "
            "train.loss returns no value per pixel; set train.class_weights=null."
        )
    return tf.reduce_mean(values)
