"""Facts for a model card: of the files, the run and the records, as far as they go."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gcnet_tf.config import Config
from gcnet_tf.data.records.manifest import read_manifest as read_records
from gcnet_tf.errors import UserError
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime.backends import format_of
from gcnet_tf.runtime.manifest import ExportManifest, megabytes, read_manifest
from gcnet_tf.weights.files import BEST_METRICS, BEST_WEIGHTS, weights_hash


@dataclass(frozen=True)
class CardFacts:
    """The facts of a card; what nobody has measured or written down is not there.

    Attributes:
        name: name of the model.
        config: its configuration.
        num_parameters: number of weights.
        files: manifest of each exported file that holds these weights, by name.
        megabytes: size of each of them on the disk.
        num_images: number of images by split, where there are records.
        metrics: metrics of the run's best weights over its validation images, as in
            best.json; empty without a run.
    """

    name: str
    config: Config
    num_parameters: int
    files: Mapping[str, ExportManifest]
    megabytes: Mapping[str, float]
    num_images: Mapping[str, int]
    metrics: Mapping[str, Any]


def metrics_of_run(model: str | None) -> dict[str, Any]:
    """Reads the metrics of a run's best weights; empty for any other model."""
    run = Path(model or "")
    if not ((run / BEST_WEIGHTS).is_file() and (run / BEST_METRICS).is_file()):
        return {}
    try:
        metrics = json.loads((run / BEST_METRICS).read_text(encoding="utf-8"))
    except ValueError:
        return {}  # damaged: the card says nothing about it
    known = ("iteration", "mIoU", "mAcc", "aAcc", "classes")
    return metrics if all(name in metrics for name in known) else {}


def exports_in(folder: Path) -> dict[Path, ExportManifest]:
    """Reads the manifests of all exports in a folder, sorted by name."""
    exports = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if format_of(path) is None:
            continue
        try:
            exports[path] = read_manifest(path)
        except UserError:
            continue  # not an export, or a damaged one: whoever opens it is told
    return exports


def num_images(config: Config) -> dict[str, int]:
    """Counts the images of each split, where there are records."""
    counts = {}
    for split in ("train", "val"):
        try:
            records = read_records(config.data.records, split, check_files=False)
        except UserError:
            continue
        counts[split] = records.num_samples
    return counts


def gather(
    model: Segmentor, config: Config, out: Path, metrics: Mapping[str, Any]
) -> CardFacts:
    """Collects the facts of the exports in a folder."""
    weights = weights_hash(model)
    files = {p: m for p, m in exports_in(out).items() if m.weights_sha256 == weights}
    return CardFacts(
        name=out.resolve().name,
        config=config,
        num_parameters=model.count_params(),
        files={path.name: manifest for path, manifest in files.items()},
        megabytes={path.name: megabytes(path) for path in files},
        num_images=num_images(config),
        metrics=metrics,
    )
