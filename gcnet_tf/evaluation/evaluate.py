"""Metrics of a predictor on a split, at the images' original sizes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, cast

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
from gcnet_tf.data.records.threads import side_by_side
from gcnet_tf.data.stream.ahead import EvaluationSample
from gcnet_tf.data.stream.lanes import ALL, Share
from gcnet_tf.data.stream.pipeline import evaluation_samples
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

    def gather(self, value: Any) -> list[Any]:
        """Lists the workers' values for JSON."""


class Alone:
    """The group of one worker."""

    share: Share = ALL

    def sum(self, values: np.ndarray) -> np.ndarray:
        return values

    def largest(self, value: int) -> int:
        return value

    def gather(self, value: Any) -> list[Any]:
        return [value]


class _CannotRead(Exception):
    """One of `READ_ERRORS` as the cause: from the records, and not from the network."""


def evaluate(
    predictor: Predictor,
    config: Config,
    split: str = "val",
    on_sample: SampleHook | None = None,
    group: Group = Alone(),
    on_damage: Callable[[list[Damage]], None] = warn_of,
    should_stop: Callable[[], bool] = lambda: False,
) -> Metrics | None:
    """Computes the metrics of a split, with few images in memory at a time.

    Each worker of a group predicts its share independently, on all of its devices, and
    the workers exchange only the confusion matrix at the end. So the shares may differ
    in size. The samples are counted in order.

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
    with Repair(config, split, on_damage, group.gather) as repair:
        for _ in range(2):
            matrix.reset()
            stopped, error = False, None
            try:
                stopped = _count(
                    matrix, predictor, repair.config, split, on_sample, group.share,
                    should_stop,
                )  # fmt: skip
            except _CannotRead as reading:
                error = cast(Exception, reading.__cause__)
            # All workers begin again, whichever met the damage, because the shares
            # divide the same list of images.
            if repair.needed(error):
                continue
            if group.largest(stopped):
                return None
            matrix.counts = group.sum(matrix.counts)
            return matrix.metrics()
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
) -> bool:
    """Adds the predictions of a share to the matrix; tells whether it was stopped."""
    # `_samples` checks the files.
    manifest = read_manifest(config.data.records, split, check_files=False)
    first, end = share.of(manifest.num_samples)
    bar = tqdm(
        total=end - first,
        desc=f"evaluate {split}",
        unit="img",
        leave=False,
        disable=None,
    )
    index = first
    samples = _samples(config, split, share)

    def predicted(
        batch: list[EvaluationSample],
    ) -> list[tuple[EvaluationSample, np.ndarray]]:
        images = np.stack([sample["image"] for sample in batch])
        return list(zip(batch, predictor.labels(images)))

    with bar, side_by_side(predictor.parallel) as in_order:
        batches = _batches(samples, predictor.images_at_once)
        for batch in in_order(predicted, batches):
            for sample, labels in batch:
                matrix.update(sample["label"], labels)
                if on_sample is not None:
                    on_sample(index, sample["image"], sample["label"], labels)
                if should_stop():
                    return True
                index += 1
                bar.update()
    return False


def _samples(config: Config, split: str, share: Share) -> Iterator[EvaluationSample]:
    """Reads the samples of a share.

    Raises:
        _CannotRead: when records are damaged.
    """
    try:
        check_sizes(config, split)
        yield from evaluation_samples(config, split, share)
    except READ_ERRORS as error:
        raise _CannotRead from error


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
