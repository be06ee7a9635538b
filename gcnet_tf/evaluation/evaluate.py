"""Metrics of a predictor on a split, at the images' original sizes."""

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Protocol

import numpy as np
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.records.damage import (
    READ_ERRORS,
    Damage,
    DamagedData,
    check_sizes,
    warn_of,
)
from gcnet_tf.data.records.repair import Repair
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.data.stream.lanes import ALL, Share
from gcnet_tf.data.stream.pipeline import EvaluationSample, evaluation_dataset
from gcnet_tf.evaluation.metrics import ConfusionMatrix, Metrics
from gcnet_tf.runtime import Predictor

# Takes index, image (height, width, 3), truth (height, width) and prediction (height,
# width).
SampleHook = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


class Group(Protocol):
    """Workers that evaluate together; all must call its methods, in the same order."""

    share: Share

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Adds up the workers' arrays."""

    def largest(self, value: int) -> int:
        """Finds the largest of the workers' values."""


class _Alone:
    """The group of one worker."""

    share = ALL

    def sum(self, values: np.ndarray) -> np.ndarray:
        return values

    def largest(self, value: int) -> int:
        return value


class _End(IntEnum):
    """The end of a pass over a share; the largest value of all workers decides."""

    DONE = 0
    STOPPED = 1
    DAMAGED = 2


def evaluate(
    predictor: Predictor,
    config: Config,
    split: str = "val",
    on_sample: SampleHook | None = None,
    group: Group = _Alone(),
    on_damage: Callable[[list[Damage]], None] = warn_of,
    should_stop: Callable[[], bool] = lambda: False,
) -> Metrics | None:
    """Computes the metrics of a split, with few images in memory at a time.

    Each worker of a group predicts its share independently, and the workers exchange
    only the confusion matrix at the end. So the shares may differ in size.

    Args:
        predictor: segments the images.
        config: names the records, see `data.records`.
        split: the split, such as "val".
        on_sample: called for every image with its truth and prediction.
        group: the workers that share the split.
        on_damage: called with the damaged samples, which are left out under
            data.on_error=skip; the evaluation then begins again.
        should_stop: called after each image that is counted.

    Returns:
        The metrics; None when any worker was told to stop.

    Raises:
        UserError: when there are no records of this split.
        DamagedData: when some are damaged, under data.on_error=stop.
    """
    matrix = ConfusionMatrix(len(predictor.classes))
    with Repair(config, split, on_damage) as repair:
        for _ in range(2):
            end = _End.DONE
            matrix.reset()
            try:
                end = _count(
                    matrix, predictor, repair.config, split, on_sample, group.share,
                    should_stop,
                )  # fmt: skip
            except READ_ERRORS as error:
                repair.find(error)
                end = _End.DAMAGED
            end = _End(group.largest(end))
            if end is _End.STOPPED:
                return None
            if end is _End.DONE:
                matrix.counts = group.sum(matrix.counts)
                return matrix.metrics()
            # All workers begin again, whichever met the damage, because the shares
            # divide the same list of images.
            repair.go_on()
    # The second pass met more damage: the disk is failing.
    raise DamagedData(repair.damaged)


def _count(
    matrix: ConfusionMatrix,
    predictor: Predictor,
    config: Config,
    split: str,
    on_sample: SampleHook | None,
    share: Share,
    should_stop: Callable[[], bool],
) -> _End:
    """Adds the predictions of a share to the matrix."""
    check_sizes(config, split)
    manifest = read_manifest(config.data.records, split)
    first, end = share.of(manifest.num_samples)
    dataset = evaluation_dataset(config, split, share).as_numpy_iterator()
    bar = tqdm(
        total=end - first,
        desc=f"evaluate {split}",
        unit="img",
        leave=False,
        disable=None,
    )
    index = first
    with bar:
        for batch in _batches(dataset, predictor.images_at_once):
            images = np.stack([sample["image"] for sample in batch])
            for sample, labels in zip(batch, predictor.labels(images)):
                matrix.update(sample["label"], labels)
                if on_sample is not None:
                    on_sample(index, sample["image"], sample["label"], labels)
                if should_stop():
                    return _End.STOPPED
                index += 1
                bar.update()
    return _End.DONE


def _batches(
    samples: Iterable[EvaluationSample],
    images_at_once: Callable[[tuple[int, int]], int],
) -> Iterator[list[EvaluationSample]]:
    """Groups consecutive samples of one size into batches of the best number."""
    batch: list[EvaluationSample] = []
    for sample in samples:
        size = sample["image"].shape[:2]
        if batch and (
            size != batch[0]["image"].shape[:2] or len(batch) == images_at_once(size)
        ):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch
