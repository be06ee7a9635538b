"""Worker that runs our input pipeline.

    python -m benchmarks.pipeline.streams ROOT CORE

Stream "uint8" is the training stream as training gets it, "normalised" the same with
the model's normalisation; those of `AUGMENTATIONS` have one augmentation more, and the
others are those of `leads.py`. See `workers.serve` for
the protocol. Ask one process for one stream only, because each stream reads ahead.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import tensorflow as tf

from benchmarks.pipeline import leads
from benchmarks.pipeline.bench import AUGMENTATIONS, benchmark_config
from benchmarks.workers import serve
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.models import ResNet


def normalise(batch: dict) -> dict:
    """Normalises a batch as the model does: float32, mean, deviation, zero padding."""
    image = tf.cast(batch["image"], tf.float32) - ResNet.mean
    image /= ResNet.standard_deviation
    size = batch["valid_size"]
    height, width = image.shape[1:3]
    rows = tf.sequence_mask(size[:, 0], height, tf.float32)
    columns = tf.sequence_mask(size[:, 1], width, tf.float32)
    mask = rows[:, :, tf.newaxis] * columns[:, tf.newaxis, :]
    return {**batch, "image": image * mask[..., tf.newaxis]}


def main() -> None:
    root, core = Path(sys.argv[1]), int(sys.argv[2])
    os.sched_setaffinity(0, {core})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    config = benchmark_config(root)

    @cache
    def compiled_normalise():
        return tf.function(normalise, jit_compile=True)

    @cache
    def iterator(name):
        if name in ("uint8", "normalised"):
            return iter(training_dataset(config))
        if name in AUGMENTATIONS:
            augment = replace(config.augment, **AUGMENTATIONS[name])
            return iter(training_dataset(replace(config, augment=augment)))
        return iter(leads.dataset(config, name))

    def producer(name: str) -> Callable[[], int]:
        def produce() -> int:
            batch = next(iterator(name))
            if name == "normalised":
                batch.pop("name")
                batch = compiled_normalise()(batch)
            return batch["image"].shape[0]

        return produce

    names = ["uint8", "normalised", *leads.LEADS, *AUGMENTATIONS]
    serve({name: producer(name) for name in names})


if __name__ == "__main__":
    main()
