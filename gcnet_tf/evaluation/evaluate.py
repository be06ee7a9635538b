"""Scores of a predictor on a split, at the images' original sizes."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.records.damage import (
    READ_ERRORS,
    Damage,
    DamagedData,
    check_sizes,
    find_damage,
    repaired,
    warn_of,
)
from gcnet_tf.data.records.shards import read_manifest
from gcnet_tf.data.stream.lanes import ALL, Share
from gcnet_tf.data.stream.pipeline import evaluation_dataset
from gcnet_tf.evaluation.load import Predictor
from gcnet_tf.evaluation.metrics import ConfusionMatrix, Scores

# index, image (height, width, 3), truth (height, width), prediction (height, width)
SampleHook = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


def evaluate(
    predictor: Predictor,
    split: str = "val",
    on_sample: SampleHook | None = None,
    share: Share = ALL,
    add_up: Callable[[np.ndarray], np.ndarray] = lambda counts: counts,
    on_damage: Callable[[list[Damage]], None] = warn_of,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Predicts every image of a split and scores it; few images in memory at a time.

    Workers that have a share each predict in their own time, and exchange nothing but
    the confusion matrix at the end. So the shares may differ in size.

    Args:
        predictor: what to score; its configuration names the data.
        split: the split, such as "val".
        on_sample: is shown every image with its truth and prediction.
        share: which part of the split to predict.
        add_up: from the int64 counts over a share to those over all shares.
        on_damage: is told of damaged samples, which are left out under
            data.on_error=skip; the evaluation then begins again.
        should_stop: asked after each image that is counted.

    Returns:
        The scores; None when any worker was to stop.

    Raises:
        UserError: when there are no records of this split.
        DamagedData: when some are damaged, under data.on_error=stop.
    """
    config = predictor.config
    matrix = ConfusionMatrix(predictor.facts.num_classes)

    def count(config: Config) -> tuple[np.ndarray, bool, bool]:
        """Counts of all shares; whether any was stopped, and met damaged samples."""
        counts, stopped, failed = matrix.counts, False, False
        try:
            check_sizes(config, split)
            found = _count(predictor, config, split, on_sample, share, should_stop)
            counts, stopped = (counts, True) if found is None else (found, False)
        except READ_ERRORS as error:
            if not find_damage(config, split):
                raise error  # not the records' fault
            failed = True
        totals = add_up(np.append(counts, [stopped, failed]))
        return totals[:-2].reshape(counts.shape), totals[-2] > 0, totals[-1] > 0

    matrix.counts, stopped, failed = count(config)
    if failed:
        # All begin again, whoever met it, so that the shares are of the same images.
        damaged = find_damage(config, split)
        on_damage(damaged)
        if config.data.on_error == "stop":
            raise DamagedData(damaged)
        with tempfile.TemporaryDirectory() as folder:
            config = repaired(config, split, damaged, Path(folder))
            matrix.counts, stopped, failed = count(config)
            if failed:  # more of them meanwhile: the disk is dying
                raise DamagedData(find_damage(config, split))
    return None if stopped else matrix.scores()


def _count(
    predictor: Predictor,
    config: Config,
    split: str,
    on_sample: SampleHook | None,
    share: Share,
    should_stop: Callable[[], bool],
) -> np.ndarray | None:
    """The confusion matrix of a share; None when it was to stop."""
    manifest = read_manifest(config.data.records, split)
    first, end = share.of(manifest.num_samples)
    matrix = ConfusionMatrix(predictor.facts.num_classes)
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
        for batch in _batches(dataset, predictor.at_once):
            found = predictor.labels(np.stack([sample["image"] for sample in batch]))
            for sample, prediction in zip(batch, found):
                matrix.update(sample["label"], prediction)
                if on_sample is not None:
                    on_sample(index, sample["image"], sample["label"], prediction)
                if should_stop():
                    return None
                index += 1
                bar.update()
    return matrix.counts


def _batches(
    samples: Iterable[dict[str, np.ndarray]],
    at_once: Callable[[tuple[int, int]], int],
) -> Iterator[list[dict[str, np.ndarray]]]:
    """Samples in a row that have one size, as many as are best predicted at once."""
    batch: list[dict[str, np.ndarray]] = []
    for sample in samples:
        size = sample["image"].shape[:2]
        if batch and (
            size != batch[0]["image"].shape[:2] or len(batch) == at_once(size)
        ):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch
