"""Lines of the log before the first iteration."""

from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from gcnet_tf.compat import lacking, tf32_text
from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.stream.lanes import shuffle_text
from gcnet_tf.processor import unused_gpu
from gcnet_tf.training.distributed.devices import devices_text
from gcnet_tf.training.distributed.workers import Workers
from gcnet_tf.training.monitor.place import Place
from gcnet_tf.training.state import Progress


def opening_texts(
    reading: Config, workers: Workers, origin: str, weights: Sequence[float] | None
) -> Iterator[str]:
    """Yields the devices, where the weights are from, the shuffling and class weights.

    Args:
        reading: the configuration, with the records that are read.
        workers: the workers of the training.
        origin: a sentence about the weights.
        weights: weights of the classes; None where all count alike.
    """
    yield devices_text(workers.strategy, workers.number)
    if warning := unused_gpu(tf.config.list_physical_devices("GPU")):
        yield f"Warning: {warning}"
    yield origin
    yield shuffle_text(read_manifest(reading.data.records, "train", check_files=False))
    if weights is not None:
        pairs = zip(facts_of(reading.data).classes, weights)
        texts = (f"{name.strip()} {weight:.3g}" for name, weight in pairs)
        yield f"Class weights: {', '.join(texts)}."


def announcement(
    config: Config,
    place: Place,
    progress: Progress,
    model: keras.Model,
    workers: Workers,
) -> Iterator[str]:
    """Yields the size of the training that begins, and limits of its arithmetic."""
    settings = config.train
    verb = "Resuming" if progress.iteration else "Training"
    num_classes = facts_of(config.data).num_classes
    yield (
        f"{verb} {place} at iteration {progress.iteration} of {settings.iterations}: "
        f"{model.count_params():,} parameters, {num_classes} classes, batch "
        f"{settings.batch_size} on {workers.strategy.num_replicas_in_sync} replica(s) "
        f"of {workers.number} worker(s), {settings.precision}"
    )
    for text in (tf32_text(), lacking(tf.as_dtype(model.compute_dtype))):
        if text:
            yield text
