"""The assembly of the input pipeline, from TFRecords to batches.

The training stream is a pure function of (seed, iteration). Samples are numbered from 0
on through all epochs. The number of a sample decides about its random choices, and the
epoch decides about the order (see `lanes`). A stream that starts at iteration t
therefore equals a stream that started at 0 and has reached t. Because of this, a
resumed run equals an uninterrupted one, and several workers that share the batches
equal a single worker.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import tensorflow as tf

from gcnet_tf.config import AugmentConfig, Config
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records import shards
from gcnet_tf.data.stream import augmentation, photometric
from gcnet_tf.data.stream.ahead import EvaluationSample, decoded_ahead
from gcnet_tf.data.stream.balance import Balance, class_chances, rare_classes
from gcnet_tf.data.stream.effects import Effects, change
from gcnet_tf.data.stream.lanes import ALL, Share, numbered_records, split_records
from gcnet_tf.data.stream.mixing import Mixing, mixed, with_partners
from gcnet_tf.files.remote.addresses import require_local

# AutoGraph is off. It would turn Python's branches and loops into tf.cond and
# tf.while_loop, which the code uses already, and it took a third of the time from the
# start to the first batch.
_as_written = tf.autograph.experimental.do_not_convert


class TrainingBatch(TypedDict):
    """A batch of `training_dataset`; (height, width) is the crop size."""

    image: tf.Tensor
    """uint8 RGB (batch, height, width, 3), zero in the padding"""
    label: tf.Tensor
    """uint8 (batch, height, width), 255 in the padding and where ignored"""
    valid_size: tf.Tensor
    """int32 (batch, 2), height and width without the padding"""
    seed: tf.Tensor
    """int32 (batch, 2), seed of each sample's random choices"""
    name: NotRequired[tf.Tensor]
    """string (batch,); training leaves it out"""
    distortion: NotRequired[photometric.Distortion]
    """changes of the colours that the training step makes, with fields (batch,); only
    under augment.photometric_on_device"""


@_as_written
def training_dataset(
    config: Config,
    start_iteration: int = 0,
    share: Share = ALL,
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Returns the endless stream of training batches.

    Args:
        config: the experiment.
        start_iteration: number of the first batch, for resumed runs.
        share: the part of each batch that this worker gets.
        num_replicas: number of equal pieces into which that part is divided; they
            follow each other.

    Returns:
        Batches, each a `TrainingBatch`: whole ones of `train.batch_size` samples, or
        pieces.

    Raises:
        UserError: when the records are missing, damaged or of another data set.
    """
    settings = config.augment
    effects = Effects(**{name: getattr(settings, name) for name in Effects._fields})
    balance = None
    if settings.balanced_crop:
        histogram = matching_manifest(config, "train").class_histogram
        balance = Balance(settings.balanced_crop, class_chances(histogram))

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
            balance=balance,
        )
        if any(effects):
            sample["image"], sample["label"] = change(
                sample["image"], sample["label"], sample["valid_size"], seed, effects
            )
        if settings.photometric_on_device:
            sample["distortion"] = augmentation.distortion_of(seed)
        return sample

    return sample_batches(config, make_sample, start_iteration, share, num_replicas)


def crop_settings(augment: AugmentConfig) -> dict[str, Any]:
    """Returns the arguments of `augmentation.make_plan` except label and seed."""
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
    """Returns the endless stream of batches of the samples from `make_sample`.

    Args:
        config: names the records, the seed and the size of the batches.
        make_sample: a function from a parsed example and the sample's seed, int32 (2,),
            to the features of the sample, to which "name" and "seed" are added.
        start_iteration: number of the first batch.
        share: as in `training_dataset`.
        num_replicas: as in `training_dataset`.
    """
    manifest = matching_manifest(config, "train")
    seed, batch_size = config.train.seed, config.train.batch_size

    def numbered_sample(sample_number, serialized):
        example = shards.parse_example(serialized)
        sample_seed = tf.stack([seed, tf.cast(sample_number, tf.int32)])
        sample = make_sample(example, sample_seed)
        return {**sample, "name": example["name"], "seed": sample_seed}

    augment = config.augment
    mixing = Mixing(
        augment.class_mix, augment.copy_paste, rare_classes(manifest.class_histogram)
    )
    is_mixing = mixing.class_mix + mixing.copy_paste > 0
    first = max(start_iteration - is_mixing, 0)  # the batch of the partners
    dataset = numbered_records(
        _folder(config, "train"), manifest, seed, batch_size, first, share
    )
    in_parallel = {
        "num_parallel_calls": tf.data.AUTOTUNE,
        "deterministic": config.data.deterministic,
    }
    dataset = dataset.map(numbered_sample, **in_parallel)
    if is_mixing:
        dataset = dataset.batch(batch_size // share.number, drop_remainder=True)
        dataset = with_partners(dataset).skip(start_iteration - first).unbatch()
        dataset = dataset.map(lambda sample: mixed(sample, mixing), **in_parallel)
    dataset = dataset.batch(
        batch_size // (share.number * num_replicas), drop_remainder=True
    )
    # Stated to be endless, so that the workers do not have to agree on its end.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return dataset.apply(endless).prefetch(tf.data.AUTOTUNE)


def evaluation_samples(
    config: Config, split: str = "val", share: Share = ALL
) -> Iterator[EvaluationSample]:
    """Returns the samples of a share of a split at original size, in record order.

    Args:
        config: names the records.
        split: name of the split.
        share: the part of the split.

    Returns:
        Samples, each an `EvaluationSample`; few of them are decoded ahead.

    Raises:
        UserError: when the records are missing, damaged or of another data set.
    """
    manifest = matching_manifest(config, split)
    records = split_records(_folder(config, split), manifest, share)
    return decoded_ahead(records.as_numpy_iterator())


def _folder(config: Config, split: str) -> Path:
    # Records at an address are read through `records.pinned`.
    require_local(config.data.records, "data.records")
    return Path(config.data.records) / split
