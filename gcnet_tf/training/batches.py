"""The batches of a run: resumed at an iteration, shared by workers, repaired."""

import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import tensorflow as tf

from gcnet_tf.data.records.damage import READ_ERRORS, check_sizes
from gcnet_tf.data.records.repair import Repair
from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.data.stream.pipeline import TrainingBatch, training_dataset
from gcnet_tf.files.names import from_bytes
from gcnet_tf.training.state import Progress


class Batches:
    """Reads the batches that remain; damaged records are repaired on the way.

    The stream is a pure function of the iteration, so that it can begin at any.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        progress: Progress,
        repair: Repair,
    ):
        """Prepares to read; `remaining` opens the records.

        Args:
            strategy: distributes each batch to its replicas.
            progress: says which iteration is next.
            repair: finds and replaces damaged records; holds the configuration.
        """
        self._strategy = strategy
        self._progress = progress
        self._repair = repair

    def remaining(self) -> Generator[tuple[TrainingBatch, float], None, None]:
        """Yields the remaining batches with the seconds spent waiting for each.

        Raises:
            DamagedData: on all workers, when any has met damage that ends the run.
        """
        iterator = None
        while self._progress.iteration < self._repair.config.train.iterations:
            start, error = time.perf_counter(), None
            try:
                iterator = iterator or self._iterator()
                batch = next(iterator)
            except READ_ERRORS as read_error:
                error = read_error
            waited = time.perf_counter() - start
            if self._repair.needed(error):
                iterator = None
                continue
            yield batch, waited

    def sample_names(self, iteration: int) -> list[str]:
        """Returns the names of the samples in the batch of an iteration."""
        data = self._repair.config.data
        # In the order in which samples are due, not that in which they are ready.
        config = replace(self._repair.config, data=replace(data, deterministic=True))
        stream = training_dataset(config, iteration)
        names = [from_bytes(name) for name in next(iter(stream))["name"].numpy()]
        if not data.deterministic:
            names.append("or some of the batches beside it (data.deterministic=false)")
        return names

    def _iterator(self) -> Iterator[TrainingBatch]:
        check_sizes(self._repair.config, "train")

        def part_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            num_workers = context.num_input_pipelines
            dataset = training_dataset(
                self._repair.config,
                self._progress.iteration,
                Share(context.input_pipeline_id, num_workers),
                context.num_replicas_in_sync // num_workers,
            )
            # No GPU holds the names, which are text; `sample_names` reads them again.
            return dataset.map(_without_name)

        return iter(self._strategy.distribute_datasets_from_function(part_of_worker))


def _without_name(batch: dict) -> dict:
    return {key: value for key, value in batch.items() if key != "name"}
