"""The parts of a page as plain values, for its template."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.config.schema import MOBILE
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.errors import UserError
from gcnet_tf.report import charts, confusion
from gcnet_tf.report.run_log import number_or_none
from gcnet_tf.report.samples import training_sheet
from gcnet_tf.report.subjects import Subject

NAN = float("nan")


def overview(subject: Subject) -> dict[str, Any]:
    """Returns the figures of a model that stand at the top."""
    findings = subject.findings
    metrics = findings.metrics if findings else None
    calibration = findings.calibration if findings else None
    recorded = number_or_none(subject.log.best.get("mIoU"))
    return {
        "name": subject.name,
        "series": charts.series(subject.number),
        "kind": subject.kind(),
        "network": network_text(subject.config),
        "training": training_text(subject),
        "miou": metrics.miou if metrics else NAN,
        "macc": metrics.macc if metrics else NAN,
        "aacc": metrics.aacc if metrics else NAN,
        "ece": calibration.error() if calibration else NAN,
        "gap": calibration.confidence_gap() if calibration else NAN,
        "calibrated": calibration.images if calibration else 0,
        "recorded": NAN if recorded is None else recorded,
        "milliseconds": 1000 * findings.seconds if findings else NAN,
    }


def network_text(config: Config) -> str:
    """Names the network of a configuration."""
    backbone, context = config.model.backbone, config.model.head.context.block
    if backbone.architecture not in MOBILE:
        size = (
            "" if backbone.base_channels == 64 else f", {backbone.base_channels} wide"
        )
        kind = "" if backbone.architecture == "resnet_v1c" else "-vd"
        text = f"ResNet-{backbone.depth}{kind}{size}"
    else:
        text = f"{backbone.architecture} × {backbone.width:g}"
    block = "own context layer" if config.model.head.context_layer else context
    return f"{text}, stride {backbone.output_stride}, context {block}"


def training_text(subject: Subject) -> str:
    """Says how long a run was trained, and whether it has ended."""
    train, log = subject.config.train, subject.log
    crop = _size(subject.config.augment.crop_size)
    text = f"batch {train.batch_size}, crops of {crop}"
    if train.init_from:
        text += f", from {train.init_from}"
    if not subject.is_run:
        return f"{train.iterations:,} iterations, {text}"
    if log.last < train.iterations:
        return (
            f"at iteration {log.last:,} of {train.iterations:,} (still training, or "
            f"stopped), {text}"
        )
    return f"{train.iterations:,} iterations, {text}"


def _size(size: Sequence[int]) -> str:
    return f"{size[1]}×{size[0]}"


def class_rows(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """Returns a row per class: its scores by model, the worst of the first one first.

    Where a model was not evaluated, they are those that its training has recorded.
    """
    predictor = subjects[0].predictor
    scores = np.array([_scores(subject) for subject in subjects])
    findings = subjects[0].findings
    truth = findings.counts.sum(axis=1) if findings and findings.metrics else None
    rows = []
    for index, (name, rgb) in enumerate(zip(predictor.classes, predictor.palette)):
        iou = scores[:, index, 0]
        rows.append(
            {
                "name": name.strip(),
                "rgb": rgb,
                "scores": [
                    {"iou": pair[0], "acc": pair[1], "series": charts.series(number)}
                    for number, pair in enumerate(scores[:, index].tolist())
                ],
                "change": float(iou[-1] - iou[0]) if len(subjects) > 1 else NAN,
                "share": NAN if truth is None else _share(truth, index),
            }
        )
    # Classes without a value come last.
    return sorted(rows, key=lambda row: _last_if_nan(row["scores"][0]["iou"]))


def _share(counts: np.ndarray, index: int) -> float:
    total = counts.sum()
    return float(counts[index] / total) if total else NAN


def _last_if_nan(value: float) -> float:
    return float("inf") if np.isnan(value) else value


def _scores(subject: Subject) -> np.ndarray:
    """Returns IoU and accuracy of each class, `(num_classes, 2)`."""
    classes = subject.predictor.classes
    metrics = subject.findings.metrics if subject.findings else None
    if metrics is not None:
        return np.stack([metrics.iou, metrics.accuracy], axis=1)
    recorded = subject.log.best.get("classes")
    values = np.full((len(classes), 2), NAN)
    if subject.findings is None and isinstance(recorded, dict):
        for index, name in enumerate(classes):
            pair = recorded.get(name)
            for place, key in enumerate(("IoU", "Acc")):
                number = (
                    number_or_none(pair.get(key)) if isinstance(pair, dict) else None
                )
                values[index, place] = NAN if number is None else number
    return values


def confusion_view(subject: Subject) -> dict[str, Any]:
    """Returns the confusion matrix of a model, and its largest entries."""
    assert subject.findings is not None
    counts = subject.findings.counts
    num_classes = len(counts)
    as_table = num_classes <= confusion.MOST_CELLS
    return {
        "name": subject.name,
        "series": charts.series(subject.number),
        "largest": confusion.largest_confusions(counts),
        "cells": confusion.cells(counts) if as_table else [],
        "with_numbers": num_classes <= confusion.MOST_NUMBERS,
        "picture": "" if as_table else confusion.picture(counts),
    }


def curve_charts(subjects: Sequence[Subject]) -> list[tuple[str, Any]]:
    """Draws the curves of the runs that have a log: titles and charts."""
    wanted = (
        ("loss", "Loss", False),
        ("mIoU", "mIoU on the validation images", True),
        ("learning_rate", "Learning rate", False),
    )
    drawn = []
    for key, title, percent in wanted:
        curves = [
            (subject.number, subject.log.curves[key])
            for subject in subjects
            if key in subject.log.curves
        ]
        if curves:
            ends = "; ".join(
                f"{subjects[number].name} ends at {100**percent * curve[-1][1]:.4g}"
                for number, curve in curves
            )
            alt = f"{title} over the iterations: {ends}"
            chart = charts.curve_chart(key, alt, curves, percent, markers=percent)
            drawn.append((title, chart))
    return drawn


def reliability(subjects: Sequence[Subject]) -> Any:
    """Draws the reliability diagram; None where no probability was looked at."""
    models = [
        (subject.number, subject.findings.calibration)
        for subject in subjects
        if subject.findings
        and subject.findings.calibration
        and subject.findings.calibration.counts.any()
    ]
    if not models:
        return None
    alt = "Reliability diagram: accuracy over probability; " + "; ".join(
        f"{subjects[number].name}: expected calibration error "
        f"{100 * calibration.error():.2f} %"
        for number, calibration in models
    )
    return charts.reliability_chart("reliability", alt, models)


def object_sizes(subjects: Sequence[Subject]) -> Any:
    """Draws errors by the size of objects; None where there is no truth."""
    models = [
        (subject.number, subject.findings.objects.bins())
        for subject in subjects
        if subject.findings and subject.findings.objects.bins()
    ]
    if not models:
        return None
    alt = "Missed share of objects by their side in pixels; " + "; ".join(
        f"{subjects[number].name}: "
        + ", ".join(f"{size.title}: {100 * size.missed:.0f} %" for size in bins)
        for number, bins in models
    )
    return charts.size_chart("sizes", alt, models)


def data_view(subject: Subject, split: str) -> dict[str, Any]:
    """Returns the data that a model was trained on, and evaluated on."""
    config, predictor = subject.config, subject.predictor
    manifests = {
        name: _manifest(config, name) for name in dict.fromkeys(("train", split))
    }
    known = {name: manifest for name, manifest in manifests.items() if manifest}
    shares = {name: _shares(manifest) for name, manifest in known.items()}
    rows = [
        {
            "name": name.strip(),
            "rgb": rgb,
            "shares": [column[index] for column in shares.values()],
        }
        for index, (name, rgb) in enumerate(zip(predictor.classes, predictor.palette))
    ]
    findings = subject.findings
    return {
        "dataset": config.data.dataset,
        "root": config.data.root,
        "splits": [
            {
                "name": name,
                "images": manifest.num_samples,
                "unlabelled": manifest.num_ignored_pixels
                / max(sum(manifest.class_histogram) + manifest.num_ignored_pixels, 1),
            }
            for name, manifest in known.items()
        ],
        "largest_share": max((max(column) for column in shares.values()), default=1),
        "classes": rows if known else [],
        "sizes": _sides(findings.sizes) if findings else "",
        "sheet": training_sheet(config),
    }


def _manifest(config: Config, split: str) -> Manifest | None:
    try:
        return matching_manifest(config, split)
    except UserError:
        return None


def _shares(manifest: Manifest) -> list[float]:
    total = max(sum(manifest.class_histogram), 1)
    return [count / total for count in manifest.class_histogram]


def _sides(sizes: Sequence[tuple[int, int]]) -> str:
    """Describes the sizes of images, width × height."""
    if not sizes:
        return ""
    if len(set(sizes)) == 1:
        return f"all {_size(sizes[0])}"
    areas = sorted(sizes, key=lambda size: size[0] * size[1])
    small, middle, large = areas[0], areas[len(areas) // 2], areas[-1]
    return f"{_size(small)} to {_size(large)}, median {_size(middle)}"
