"""The computation of rows: downloads, an estimate of the time, both columns of mIoU."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gcnet_tf.data.check.conversion import checked_records
from gcnet_tf.data.prepare import require_records
from gcnet_tf.data.records.manifest import Manifest, read_manifest
from gcnet_tf.data.sources.official import download_dataset
from gcnet_tf.weights.official import fetch
from reproduction.models import (
    cost_of,
    in_mode,
    kind_of,
    load_row,
    progress_key,
    seconds_per_image,
)
from reproduction.progress import (
    Progress,
    evaluate_by_parts,
    number_of_parts,
    read_progress,
)
from reproduction.rows import SPLIT, Modes, Row, has_validation_records
from reproduction.table import Outcome

# Time between two lines on an evaluation.
_REPORT_SECONDS = 30


def provide(row: Row) -> None:
    """Fetches what a row lacks, and converts its images.

    Raises:
        UserError: when a download fails, or images are incomplete or bad.
    """
    if row.weights is None:
        fetch(str(row.config.published.checkpoint_url))
    data = row.config.data
    if not has_validation_records(row) and not Path(data.root).is_dir():
        download_dataset(data.dataset, Path(data.root), (SPLIT,))
    checked_records(row.config, [SPLIT])


def hours(rows: Sequence[Row], modes: Modes, out: Path) -> dict[str, float]:
    """Estimates the time of what is left, from the first images of each kind of row.

    Args:
        rows: rows with records; weights may be missing.
        modes: the columns.
        out: folder of the results.

    Returns:
        Hours by the names of the rows.
    """
    seconds: dict[str, float] = {}
    estimates = {}
    for row in rows:
        config = row.config
        manifest = _manifest(row)
        left = {mode: _share_left(row, mode, manifest, out) for mode in modes}
        if not any(left.values()):
            estimates[row.name] = 0.0
            continue
        kind = kind_of(config)
        if kind not in seconds:
            seconds[kind] = seconds_per_image(config)
        images = sum(share * cost_of(config, mode) for mode, share in left.items())
        estimates[row.name] = manifest.num_samples * images * seconds[kind] / 3600
    return estimates


def compute(row: Row, modes: Modes, out: Path, outcome: Outcome) -> None:
    """Computes the mIoU of a row; goes on where an earlier call has ended.

    Args:
        row: a row with weights and records.
        modes: the columns.
        out: folder of the results.
        outcome: gets the figures, each when it is known.

    Raises:
        UserError: when weights or records cannot be read, or do not fit.
    """
    config = row.config
    require_records(config, [SPLIT], row.name)
    manifest = _manifest(row)
    predictor = None
    for mode in modes:
        path, key = _file(row, mode, out), progress_key(row, mode, manifest)
        progress = read_progress(path, key, len(manifest.class_histogram))
        if progress.parts < number_of_parts(manifest.num_samples):
            predictor = predictor or load_row(row)
            progress = evaluate_by_parts(
                in_mode(predictor, mode),
                config,
                SPLIT,
                path,
                key,
                _reporter(row, mode),
            )
        _note(outcome, mode, progress, manifest)


def _note(
    outcome: Outcome, mode: str | None, progress: Progress, manifest: Manifest
) -> None:
    metrics = progress.metrics()
    if mode is None:
        outcome.miou = 100 * metrics.miou
        classes = metrics.to_dict(manifest.classes)["classes"]
        outcome.classes = {
            name: None if values["IoU"] is None else 100 * values["IoU"]
            for name, values in classes.items()
        }
    else:
        outcome.miou_ms_flip = 100 * metrics.miou


def _reporter(row: Row, mode: str | None) -> Callable[[Progress, int], None]:
    """Returns a function that tells how far an evaluation is, every half minute."""
    name = f"{row.name}, {mode or row.config.evaluation.mode}"
    last = 0.0

    def report(progress: Progress, total: int) -> None:
        nonlocal last
        if time.monotonic() - last < _REPORT_SECONDS and progress.parts < total:
            return
        last = time.monotonic()
        left = progress.seconds / progress.parts * (total - progress.parts) / 3600
        print(
            f"{name}: part {progress.parts} of {total}, mIoU "
            f"{100 * progress.metrics().miou:.2f} so far, {left:.2f} h left",
            flush=True,
        )

    return report


def _share_left(row: Row, mode: str | None, manifest: Manifest, out: Path) -> float:
    """Returns the share of the images that are not counted yet, in [0, 1]."""
    total = number_of_parts(manifest.num_samples)
    # Weights that are not there yet have counted nothing.
    if row.weights is None and not row.cached.is_file():
        return 1.0
    key = progress_key(row, mode, manifest)
    counted = read_progress(_file(row, mode, out), key, len(manifest.class_histogram))
    return 1 - counted.parts / total


def _manifest(row: Row) -> Manifest:
    return read_manifest(row.config.data.records, SPLIT, check_files=False)


def _file(row: Row, mode: str | None, out: Path) -> Path:
    return out / f"{row.name}.{mode or 'single'}.json"
