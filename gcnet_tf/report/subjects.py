"""The subjects of a page: models as the user names them, each loaded once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.records.manifest import read_manifest as read_records_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import (
    is_exported,
    load_model,
    load_predictor,
    predictor_from_model,
)
from gcnet_tf.models import Segmentor
from gcnet_tf.report.counted.findings import Findings
from gcnet_tf.report.run_log import RunLog, read_log, read_values
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.manifest import megabytes, read_manifest
from gcnet_tf.visualize.attention import attention_values
from gcnet_tf.weights.files import SUFFIX, weights_hash


@dataclass
class Subject:
    """A model of a page.

    Attributes:
        number: its place on the page, from 0 on.
        name: its name, different from those of the others.
        path: the run or file.
        predictor: segments images with it.
        config: its configuration.
        segmentor: the Keras model; None for an exported file.
        log: the log of its training; empty for a file.
        versions: versions of the packages that trained or exported it.
        findings: the findings about it; None where there was nothing to evaluate.
    """

    number: int
    name: str
    path: Path
    predictor: Predictor
    config: Config
    segmentor: Segmentor | None
    log: RunLog = field(default_factory=RunLog)
    versions: dict[str, str] = field(default_factory=dict)
    findings: Findings | None = None

    @property
    def is_run(self) -> bool:
        return self.path.is_dir() and self.segmentor is not None

    def weights(self) -> str:
        """Returns the hash by which exported files name their weights."""
        if self.segmentor is not None:
            return weights_hash(self.segmentor)
        return read_manifest(self.path).weights_sha256

    def kind(self) -> str:
        """Returns what it is, in words."""
        if self.segmentor is not None:
            count = f"{self.segmentor.count_params() / 1e6:.2f}\N{NO-BREAK SPACE}M"
            return f"{'run' if self.is_run else 'weights'}, {count} parameters"
        manifest = read_manifest(self.path)
        return (
            f"exported {manifest.format} {manifest.precision}, "
            f"{megabytes(self.path):.1f} MB"
        )

    def attention(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Computes the attention of the middle of images to each position.

        Args:
            images: RGB uint8 `(height, width, 3)`.

        Returns:
            Of each image `(height, width)` at the features' size; None where there is
            none to show.
        """
        maps: list[np.ndarray | None] = []
        for group in self._batches(images):
            try:
                assert self.segmentor is not None
                maps += list(
                    attention_values(
                        self.name, self.segmentor, self.config, group, [(0.5, 0.5)]
                    )[:, 0]
                )
            except UserError:  # its context block has no attention
                break
        return maps or [None] * len(images)

    def _batches(self, images: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields consecutive images of one size together: few calls are fast."""
        if self.segmentor is None:
            return
        for size, group in groupby(images, lambda image: image.shape[:2]):
            most = self.predictor.images_at_once(size)
            alike = list(group)
            for start in range(0, len(alike), most):
                yield np.stack(alike[start : start + most])


def load_subjects(
    models: Sequence[str], cfg: str | None, overrides: Sequence[str]
) -> list[Subject]:
    """Loads models, whose classes must be the same.

    Args:
        models: runs, exported files, or, with `cfg`, weights and .keras files.
        cfg: the configuration of weights and .keras files.
        overrides: changes of all configurations, such as "data.records=elsewhere".

    Raises:
        UserError: when one cannot be loaded, or their classes differ.
    """
    subjects: list[Subject] = []
    for name, model in zip(_names(models), models):
        subject = _load(len(subjects), name, model, cfg, overrides)
        first = (subjects or [subject])[0]
        if subject.predictor.classes != first.predictor.classes:
            raise UserError(
                f"--model: {model} has {len(subject.predictor.classes)} classes, and "
                f"{first.path} has {len(first.predictor.classes)}, or others by name. "
                "Models side by side have the same classes; write a report for each."
            )
        subjects.append(subject)
    return subjects


def _load(
    number: int, name: str, model: str, cfg: str | None, overrides: Sequence[str]
) -> Subject:
    path = Path(model)
    if is_exported(model):
        predictor, config = load_predictor(None, None, model, overrides)
        versions = read_manifest(path).versions
        return Subject(number, name, path, predictor, config, None, versions=versions)
    is_run = (path / "config.json").is_file()
    weights = model if model.endswith(SUFFIX) else None
    segmentor, config = load_model(
        None if is_run else cfg, weights, None if weights else model, overrides
    )
    predictor = predictor_from_model(segmentor, config)
    subject = Subject(number, name, path, predictor, config, segmentor)
    if is_run:
        subject.log = read_log(path)
        texts = read_values(path / "versions.json").items()
        subject.versions = {str(key): str(value) for key, value in texts}
    return subject


def _names(models: Sequence[str]) -> list[str]:
    """Returns short names of models: the last parts of their paths that tell apart."""
    paths = [Path(model).resolve() for model in models]
    for length in range(1, 4):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    counts = Counter(models)
    twice = next((model for model in models if counts[model] > 1), models[-1])
    raise UserError(
        f"--model: received {twice} twice, or under two names; name each model once."
    )


def require_same_images(subjects: Sequence[Subject], split: str) -> None:
    """Checks that models are compared on the same images.

    Raises:
        UserError: when their configurations name records with other content, or
            records are missing.
    """
    digests = [
        read_records_manifest(subject.config.data.records, split).content_digest()
        for subject in subjects
    ]
    for subject, digest in zip(subjects, digests):
        if digest != digests[0]:
            raise UserError(
                f"--model: {subjects[0].path} and {subject.path} name different "
                f"records of the split {split}: {subjects[0].config.data.records} and "
                f"{subject.config.data.records}. Name those to compare on: --set "
                "data.records=DIR."
            )
