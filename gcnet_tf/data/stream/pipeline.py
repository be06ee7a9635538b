"""From TFRecords to batches: the assembly of the input pipeline.

The training stream is a pure function of (seed, iteration). Samples are numbered from 0
on through all epochs; the number decides about the sample's random choices, and the
epoch about the order (see `lanes`). A stream that starts at iteration t therefore
equals one that started at 0 and has reached t, which makes a resumed run equal an
uninterrupted one, and workers that share the batches equal one that has them alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import tensorflow as tf

from gcnet_tf.config import AugmentConfig, Config
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records import shards
from gcnet_tf.data.stream import augmentation, photometric
from gcnet_tf.data.stream.lanes import ALL, Share, numbered_records, split_records

# Branches and loops are tf.cond and tf.while_loop here. AutoGraph, which would turn
# Python's into them, took a third of the time from the start to the first batch.
_as_written = tf.autograph.experimental.do_not_convert


class EvaluationSample(TypedDict):
    """A sample of `evaluation_dataset`; arrays, or tensors inside of tf.data."""

    image: Any
    """uint8 RGB (height, width, 3)"""
    label: Any
    """uint8 (height, width)"""
    name: Any
    """string ()"""


class TrainingBatch(TypedDict):
    """A batch of `training_dataset`, tensors; (height, width) is the crop size."""

    image: tf.Tensor
    """uint8 RGB (batch, height, width, 3), zero where padded"""
    label: tf.Tensor
    """uint8 (batch, height, width), 255 where padded or ignored"""
    valid_size: tf.Tensor
    """int32 (batch, 2), height and width without the padding"""
    seed: tf.Tensor
    """int32 (batch, 2), the seed of each sample's random choices"""
    name: NotRequired[tf.Tensor]
    """string (batch,); training leaves it out"""
    distortion: NotRequired[photometric.Distortion]
    """still to be applied, under augment.photometric_on_device; fields (batch,)"""


@_as_written
def training_dataset(
    config: Config,
    start_iteration: int = 0,
    share: Share = ALL,
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """The endless stream of training batches.

    Args:
        config: the experiment.
        start_iteration: number of the first batch, for runs that are resumed.
        share: the part of each batch that this worker gets.
        num_replicas: in how many equal pieces, one after the other, it gets it.

    Returns:
        Batches, each a `TrainingBatch`, of `train.batch_size` samples or of the size of
        a piece.

    Raises:
        UserError: if the records are missing, empty or of another data set.
    """
    settings = config.augment

    def make_sample(example: dict, seed: tf.Tensor) -> dict:
        sample = shards.decode_sample(example)
        sample = augmentation.augment(
            sample["image"],
            sample["label"],
            seed,
            **crop_settings(settings),
            photometric_distortion=(
                settings.photometric_distortion and not settings.photometric_on_device
            ),
        )
        if settings.photometric_on_device:
            sample["distortion"] = augmentation.distortion_of(seed)
        return sample

    return sample_batches(config, make_sample, start_iteration, share, num_replicas)


def crop_settings(augment: AugmentConfig) -> dict[str, Any]:
    """What `augmentation.make_plan` takes beside the label and the seed."""
    names = (
        "base_scale",
        "ratio_range",
        "crop_size",
        "category_max_ratio",
        "flip_probability",
    )
    return {name: getattr(augment, name) for name in names}


def sample_batches(
    config: Config,
    make_sample: Callable[[dict, tf.Tensor], dict],
    start_iteration: int = 0,
    share: Share = ALL,
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """The endless stream of batches of what `make_sample` makes.

    Args:
        config: names the records, the seed and the size of the batches.
        make_sample: from a parsed example and the sample's seed, int32 (2,), to
            features; "name" and "seed" are added to them.
        start_iteration: number of the first batch.
        share: as in `training_dataset`.
        num_replicas: as in `training_dataset`.
    """
    manifest = matching_manifest(config, "train")
    seed, batch_size = config.train.seed, config.train.batch_size

    def numbered_sample(number, serialized):
        example = shards.parse_example(serialized)
        sample_seed = tf.stack([seed, tf.cast(number, tf.int32)])
        sample = make_sample(example, sample_seed)
        return {**sample, "name": example["name"], "seed": sample_seed}

    dataset = numbered_records(
        _folder(config, "train"), manifest, seed, batch_size, start_iteration, share
    )
    dataset = dataset.map(
        numbered_sample,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=config.data.deterministic,
    )
    dataset = dataset.batch(
        batch_size // (share.number * num_replicas), drop_remainder=True
    )
    # Known to be endless, it needs no exchange over the workers to find its end.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return dataset.apply(endless).prefetch(tf.data.AUTOTUNE)


@_as_written
def evaluation_dataset(
    config: Config, split: str = "val", share: Share = ALL
) -> tf.data.Dataset:
    """The samples of a share of a split, each at original size, in record order.

    Returns:
        Samples, each an `EvaluationSample`.

    Raises:
        UserError: if the records are missing, empty or of another data set.
    """
    manifest = matching_manifest(config, split)
    dataset = split_records(_folder(config, split), manifest, share)
    dataset = dataset.map(
        lambda serialized: shards.decode_sample(shards.parse_example(serialized)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def _folder(config: Config, split: str) -> Path:
    return Path(config.data.records) / split
