"""Scores of a predictor on a split, at the images' original sizes."""

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from gcnet_tf.data.pipeline import evaluation_dataset
from gcnet_tf.data.records import read_manifest
from gcnet_tf.metrics import ConfusionMatrix, Scores
from gcnet_tf.predictor import Predictor

# index, image (height, width, 3), truth (height, width), prediction (height, width)
SampleHook = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


def evaluate(
    predictor: Predictor,
    split: str = "val",
    on_sample: SampleHook | None = None,
) -> Scores:
    """Predicts every image of a split and scores it; one image in memory at a time.

    Args:
        predictor: what to score; its configuration names the data.
        split: the split, such as "val".
        on_sample: is shown every image with its truth and prediction.

    Raises:
        UserError: when there are no records of this split.
    """
    data = predictor.config.data
    total = read_manifest(data.records, split).num_samples
    matrix = ConfusionMatrix(predictor.facts.num_classes)
    dataset = evaluation_dataset(predictor.config, split).as_numpy_iterator()
    bar = tqdm(
        dataset,
        total=total,
        desc=f"evaluate {split}",
        unit="img",
        leave=False,
        disable=None,
    )
    for index, sample in enumerate(bar):
        prediction = predictor.labels(sample["image"])
        matrix.update(sample["label"], prediction)
        if on_sample is not None:
            on_sample(index, sample["image"], sample["label"], prediction)
    return matrix.scores()
