"""Pixels of other samples, pasted into a crop: ClassMix, and copy-paste.

The partner of a sample is the one that had its place in the batch of the iteration
before. Whatever worker and replica has the place has seen both, so that the stream
stays a pure function of (seed, iteration) for any number of them; a resumed stream
reads one batch more. The first batch has no partners.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from gcnet_tf.data.catalog import IGNORE_LABEL

# Makes these random numbers differ from all others of the same seed.
_STREAM = 13


class Mixing(NamedTuple):
    """Probabilities of the two ways to paste; both together at most 1."""

    class_mix: float
    """Probability of half of the partner's classes (Olsson et al., "ClassMix", WACV
    2021)."""
    copy_paste: float
    """Probability of the partner's rare classes."""
    rare: Sequence[int]
    """The rare classes."""


def with_partners(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Adds "partner_image" and "partner_label" to the samples of batches.

    Args:
        batches: dicts of batches of one size; with "image" uint8 (batch, height, width,
            3) and "label" uint8 (batch, height, width).

    Returns:
        The single samples.
    """
    image, label = (batches.element_spec[name] for name in ("image", "label"))
    # A label without a class, of which nothing is pasted.
    nothing = tf.fill(label.shape, tf.constant(IGNORE_LABEL, tf.uint8))
    first = (tf.zeros(image.shape, tf.uint8), nothing)

    def paired(before, batch):
        partners = {"partner_image": before[0], "partner_label": before[1]}
        return (batch["image"], batch["label"]), {**batch, **partners}

    return batches.scan(first, paired)


def mixed(sample: dict[str, tf.Tensor], mixing: Mixing) -> dict[str, tf.Tensor]:
    """Pastes from the partner of a sample, and removes the partner.

    Pixels that are padding of either stay as they are.

    Args:
        sample: with "image", "label", "valid_size" and "seed" as in `TrainingBatch`,
            and those of `with_partners`.
        mixing: the probabilities.
    """
    partner = [sample[name] for name in ("partner_image", "partner_label")]
    kept = {k: v for k, v in sample.items() if not k.startswith("partner_")}
    image, label = sample["image"], sample["label"]
    seed = tf.random.experimental.stateless_fold_in(sample["seed"], _STREAM)
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    coin = tf.random.stateless_uniform((), seeds[0])
    is_rare = tf.constant([index in mixing.rare for index in range(IGNORE_LABEL)])
    classes = tf.cond(
        coin < mixing.class_mix,
        lambda: half_of_classes(partner[1], seeds[1]),
        lambda: is_rare,
    )
    image, label = tf.cond(
        coin < mixing.class_mix + mixing.copy_paste,
        lambda: paste(image, label, sample["valid_size"], *partner, classes),
        lambda: (image, label),
    )
    return {**kept, "image": image, "label": label}


def half_of_classes(label: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws half of the classes of a label, rounded up; bool (255,)."""
    values = tf.cast(tf.reshape(label, [-1]), tf.int32)
    empty = tf.constant([], tf.int32)
    counts = tf.raw_ops.DenseBincount(input=values, size=256, weights=empty)
    is_there = counts[:IGNORE_LABEL] > 0
    scores = tf.random.stateless_uniform((IGNORE_LABEL,), seed)
    scores = tf.where(is_there, scores, -1.0)
    number = (tf.math.count_nonzero(is_there, dtype=tf.int32) + 1) // 2
    lowest = tf.sort(scores, direction="DESCENDING")[tf.maximum(number, 1) - 1]
    return is_there & (scores >= lowest)


@tf.function(jit_compile=True, autograph=False)
def paste(
    image: tf.Tensor,
    label: tf.Tensor,
    valid_size: tf.Tensor,
    partner_image: tf.Tensor,
    partner_label: tf.Tensor,
    classes: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes the pixels of the partner that have one of the classes.

    Args:
        image, label, valid_size: of the sample, as in `TrainingBatch`.
        partner_image, partner_label: of the partner.
        classes: bool (255,), true for the classes that are pasted.
    """
    rows = tf.range(label.shape[0]) < valid_size[0]
    columns = tf.range(label.shape[1]) < valid_size[1]
    chosen = tf.pad(classes, [[0, 1]])  # not 255
    chosen = tf.gather(chosen, tf.cast(partner_label, tf.int32))
    chosen &= rows[:, tf.newaxis] & columns[tf.newaxis]
    return (
        tf.where(chosen[..., tf.newaxis], partner_image, image),
        tf.where(chosen, partner_label, label),
    )
