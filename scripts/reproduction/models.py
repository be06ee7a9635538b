"""The model of a row, with its weights, and the time that its images take."""

import itertools
import time
from functools import cache
from pathlib import Path
from typing import Any

from gcnet_tf import __version__
from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.evaluation.load import load_predictor, predictor_from_model
from gcnet_tf.models import build_model
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.manifest import content_hash
from gcnet_tf.weights.files import weights_of_run
from reproduction.rows import SPLIT, Row

# Images that are timed for an estimate, after one that warms up.
_TIMED = 2


def weights_file(row: Row) -> Path:
    """Returns the file that holds the weights of a row."""
    if row.weights is None:
        return row.cached
    return weights_of_run(row.weights) if row.weights.is_dir() else row.weights


def load_row(row: Row) -> Predictor:
    """Loads the model of a row with its weights, in the mode of its configuration.

    Raises:
        UserError: when they cannot be read, or are those of another model.
    """
    return load_predictor(row.config, str(weights_file(row)), None, ())[0]


def progress_key(row: Row, mode: str | None, manifest: Manifest) -> dict[str, Any]:
    """Collects all that the counts of a row depend on, as JSON holds it."""
    settings = config_to_dict(row.config)
    return {
        "weights": _hash(weights_file(row)),
        "records": manifest.content_digest(),
        "model": settings["model"],
        "evaluation": settings["evaluation"],
        "mode": mode,
        "version": __version__,
    }


@cache
def _hash(path: Path) -> str:
    return content_hash(path)


def kind_of(config: Config) -> str:
    """Returns a text that is equal for rows whose images take the same time."""
    settings = config_to_dict(config)
    return repr([settings[name] for name in ("model", "evaluation", "data")])


def seconds_per_image(config: Config) -> float:
    """Times the first images of a row in its own mode; its weights do not matter.

    Args:
        config: the row, which has records.
    """
    predictor = predictor_from_model(build_model(config), config, fold_is_checked=True)
    samples = evaluation_samples(config, SPLIT)
    images = [sample["image"] for sample in itertools.islice(samples, _TIMED)]
    predictor.labels(images[0])
    start = time.monotonic()
    for image in images:
        predictor.labels(image)
    return (time.monotonic() - start) / len(images)


def in_mode(predictor: Predictor, mode: str | None) -> Predictor:
    """Returns a predictor with the same network in a mode; None leaves its own."""
    protocol = predictor.protocol.with_mode(mode)
    return Predictor.of_network(
        predictor.network, protocol, predictor.classes, predictor.palette
    )


def cost_of(config: Config, mode: str | None) -> float:
    """Returns the time of an image in a mode, in times of the configuration's own.

    Multi-scale and flip passes each image at every ratio, as it is and mirrored.
    """
    if mode is None:
        return 1.0
    return 2 * sum(ratio**2 for ratio in config.evaluation.ratios)
