"""Evaluations that go on where they were: counts of images, kept after each part."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.evaluation.evaluate import Alone, evaluate
from gcnet_tf.evaluation.metrics import ConfusionMatrix, Metrics
from gcnet_tf.files.results import write_result
from gcnet_tf.runtime import Predictor

# Images of a part: what a kill loses at most.
PART = 50


@dataclass
class Progress:
    """The images that were counted so far.

    Attributes:
        key: what the counts depend on; other counts are not taken over.
        parts: number of parts that are counted.
        counts: (label, prediction) pairs, `(classes, classes)`.
        seconds: time that these parts took.
    """

    key: dict[str, Any]
    parts: int
    counts: np.ndarray
    seconds: float

    def metrics(self) -> Metrics:
        """Computes the metrics of the counted images."""
        matrix = ConfusionMatrix(len(self.counts))
        matrix.counts = self.counts
        return matrix.metrics()


class _Part(Alone):
    """The group of one part of a split, which keeps the counts."""

    def __init__(self, share: Share):
        self.share = share
        self.counts = np.zeros(())

    def sum(self, values: np.ndarray) -> np.ndarray:
        self.counts = values
        return values


def number_of_parts(num_samples: int) -> int:
    """Returns the number of parts into which a split is divided."""
    return -(-num_samples // PART)


def read_progress(path: Path, key: dict[str, Any], num_classes: int) -> Progress:
    """Reads what is counted; nothing, where the file is missing or of another key."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array(saved["counts"], np.int64)
        if saved["key"] == key and counts.shape == (num_classes, num_classes):
            return Progress(key, int(saved["parts"]), counts, float(saved["seconds"]))
    # A file that somebody has changed counts as none.
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return Progress(key, 0, np.zeros((num_classes, num_classes), np.int64), 0.0)


def evaluate_by_parts(
    predictor: Predictor,
    config: Config,
    split: str,
    path: Path,
    key: dict[str, Any],
    on_part: Callable[[Progress, int], None],
) -> Progress:
    """Counts the images of a split that are not counted yet.

    Args:
        predictor: segments the images.
        config: names the records.
        split: the split.
        path: the file of the progress, written after each part.
        key: see `Progress`.
        on_part: called after each part with the progress and the number of all parts.
    """
    progress = read_progress(path, key, len(predictor.classes))
    with pinned(config, [split]) as reading:
        total = number_of_parts(read_manifest(reading.data.records, split).num_samples)
        while progress.parts < total:
            part = _Part(Share(progress.parts, total))
            start = time.monotonic()
            evaluate(predictor, reading, split, group=part)
            progress = Progress(
                key,
                progress.parts + 1,
                progress.counts + part.counts,
                progress.seconds + time.monotonic() - start,
            )
            write_result(path, _to_json(progress))
            on_part(progress, total)
    return progress


def _to_json(progress: Progress) -> str:
    return json.dumps(
        {
            "key": progress.key,
            "parts": progress.parts,
            "seconds": round(progress.seconds, 1),
            "counts": progress.counts.tolist(),
        }
    )
