"""From TFRecords to batches: the assembly of the input pipeline.

The training stream is a pure function of (seed, iteration). Samples are numbered from 0
on through all epochs; the number decides about the sample's random choices, and the
epoch about the order. A stream that starts at iteration t therefore equals one that
started at 0 and has reached t, which makes a resumed run equal an uninterrupted one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from gcnet_tf.config import AugmentConfig, Config
from gcnet_tf.data import records, transforms
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.record_manifest import Manifest

# Encoded records wait here for their turn. Small data sets fit in as a whole and are
# shuffled perfectly; of a large one it is a few thousand images.
SHUFFLE_BUFFER_BYTES = 256 * 2**20

_READ_BUFFER_BYTES = 4 * 2**20
# Set apart from the seeds of samples, whose second number is not negative.
_ORDER_SEED = -1


def training_dataset(config: Config, start_iteration: int = 0) -> tf.data.Dataset:
    """The endless stream of global training batches.

    Args:
        config: the experiment.
        start_iteration: number of the first batch, for runs that are resumed.

    Returns:
        Batches of `train.batch_size` samples, with (height, width) the crop size:
        "image" uint8 RGB (batch, height, width, 3), zero where padded;
        "label" uint8 (batch, height, width), 255 where padded or ignored;
        "valid_size" int32 (batch, 2), height and width without the padding;
        "name" string (batch,); "seed" int32 (batch, 2), what `transforms.augment` took;
        under augment.photometric_on_device "distortion", a `photometric.Distortion`
        with fields (batch,) that is still to be applied.

    Raises:
        UserError: if the records are missing, empty or of another data set.
    """
    settings = config.augment

    def make_sample(example: dict, seed: tf.Tensor) -> dict:
        sample = records.decode_sample(example)
        sample = transforms.augment(
            sample["image"],
            sample["label"],
            seed,
            **crop_settings(settings),
            photometric_distortion=(
                settings.photometric_distortion and not settings.photometric_on_device
            ),
        )
        if settings.photometric_on_device:
            sample["distortion"] = transforms.distortion_of(seed)
        return sample

    return sample_batches(config, make_sample, start_iteration)


def crop_settings(augment: AugmentConfig) -> dict[str, Any]:
    """What `transforms.make_plan` takes beside the label and the seed."""
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
) -> tf.data.Dataset:
    """The endless stream of batches of what `make_sample` makes.

    Args:
        config: names the records, the seed and the size of the batches.
        make_sample: from a parsed example and the sample's seed, int32 (2,), to
            features; "name" and "seed" are added to them.
        start_iteration: number of the first batch.
    """
    manifest = matching_manifest(config, "train")
    seed, batch_size = config.train.seed, config.train.batch_size

    def numbered_sample(index, serialized):
        example = records.parse_example(serialized)
        sample_seed = tf.stack([seed, tf.cast(index, tf.int32)])
        sample = make_sample(example, sample_seed)
        return {**sample, "name": example["name"], "seed": sample_seed}

    dataset = _numbered_records(
        _shard_paths(config, manifest), manifest, seed, start_iteration * batch_size
    )
    dataset = dataset.map(
        numbered_sample,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=config.data.deterministic,
    )
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(config: Config, split: str = "val") -> tf.data.Dataset:
    """The samples of a split, one at a time, at original size and in record order.

    Returns:
        Samples of "image" uint8 RGB (height, width, 3), "label" uint8 (height, width)
        and "name", a scalar string.

    Raises:
        UserError: if the records are missing, empty or of another data set.
    """
    manifest = matching_manifest(config, split)
    dataset = tf.data.TFRecordDataset(
        _shard_paths(config, manifest), buffer_size=_READ_BUFFER_BYTES
    )
    dataset = dataset.map(
        lambda serialized: records.decode_sample(records.parse_example(serialized)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def _shard_paths(config: Config, manifest: Manifest) -> list[str]:
    folder = Path(config.data.records) / manifest.split
    return [str(folder / shard.file) for shard in manifest.shards]


def _numbered_records(
    paths: list[str], manifest: Manifest, seed: int, first_sample: int
) -> tf.data.Dataset:
    """(number, serialized record) of all epochs from `first_sample` on.

    Nothing is decoded here, so that skipping to the middle of an epoch costs no more
    than reading.
    """
    num_samples = manifest.num_samples
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    buffer_size = max(1, SHUFFLE_BUFFER_BYTES * num_samples // max(num_bytes, 1))
    buffer_size = min(buffer_size, num_samples)
    first_epoch, num_skipped = divmod(first_sample, num_samples)

    def epoch_records(epoch):
        # Dataset.shuffle mixes the seed of its graph into its own. Fixing that of the
        # function being traced (no other) makes the order independent of
        # tf.random.set_seed, and tf.random.set_seed(0) does not raise in shuffle.
        tf.compat.v1.set_random_seed(1)
        seeds = tf.random.experimental.stateless_fold_in(
            tf.constant([seed, _ORDER_SEED], tf.int64), epoch
        )
        order = tf.random.experimental.stateless_shuffle(tf.constant(paths), seeds)
        dataset = tf.data.TFRecordDataset(order, buffer_size=_READ_BUFFER_BYTES)
        return dataset.shuffle(
            buffer_size, seed=seeds[0], reshuffle_each_iteration=False
        )

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    dataset = epochs.flat_map(epoch_records)
    return dataset.enumerate(first_epoch * num_samples).skip(num_skipped)
