"""The images of a page: each with its truth, predictions, errors and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.report import charts
from gcnet_tf.report.pictures import Frame
from gcnet_tf.report.samples import Shown
from gcnet_tf.report.subjects import Subject

# Entries of the legend under an image, and the least share of one in a picture.
_LEGEND, _VISIBLE = 8, 0.004


def figures(
    subjects: Sequence[Subject], shown: Mapping[int, Shown]
) -> dict[int, dict[str, Any]]:
    """Returns the values of each image's figure by its number."""
    images = [one.image for one in shown.values()]
    maps = zip(*(subject.attention(images) for subject in subjects))
    return {
        index: _figure(subjects, index, one, attention)
        for (index, one), attention in zip(shown.items(), maps)
    }


def _figure(
    subjects: Sequence[Subject],
    index: int,
    shown: Shown,
    attention: Sequence[np.ndarray | None],
) -> dict[str, Any]:
    palette = subjects[0].predictor.palette
    frame = Frame(shown.image)
    lead = [_panel("image", frame.photo(), f"The image {shown.name}")]
    maps = [shown.truth] if shown.truth is not None else []
    if shown.truth is not None:
        alt = f"Truth of {shown.name}, classes in colour"
        lead.append(_panel("truth", frame.labels(shown.truth, palette), alt))
    predictions = [_labels(subject, index) for subject in subjects]
    rows = [
        _panels_of(subject, len(subjects) > 1, frame, shown, labels, values)
        for subject, labels, values in zip(subjects, predictions, attention)
    ]
    side_by_side = [*lead, *(row[0] for row in rows)]
    if len(subjects) > 1:
        apart = np.any([labels != predictions[0] for labels in predictions[1:]], axis=0)
        alt = f"{apart.mean():.1%} of the pixels of {shown.name}, in red"
        side_by_side.append(_panel("models differ", frame.marked(apart), alt))
    return {
        "name": shown.name,
        "size": f"{shown.image.shape[1]}×{shown.image.shape[0]}",
        "is_small": max(shown.image.shape[:2]) < 256,
        "columns": 1 + max(map(len, rows)),
        "panels": _grid(lead, rows),
        "side_by_side": side_by_side,
        "legend": _legend(subjects[0], [*maps, *predictions]),
        "unlabelled": shown.truth is not None and bool((shown.truth == 255).any()),
        "errors": [
            {
                "error": subject.findings.errors[index],
                "series": charts.series(subject.number),
                "mostly": _mostly(subject, shown.truth, labels),
            }
            for subject, labels in zip(subjects, predictions)
            if subject.findings
        ],
        "apart": max(
            (s.findings.apart[index] for s in subjects[1:] if s.findings), default=0.0
        ),
    }


def _labels(subject: Subject, index: int) -> np.ndarray:
    assert subject.findings is not None  # only such subjects have figures
    return subject.findings.labels[index].unpacked()


def _grid(
    lead: list[dict[str, Any]], rows: list[list[dict[str, Any]]]
) -> list[dict[str, Any] | None]:
    """Arranges panels: a model's in a row, behind the image or the truth.

    Those of a single model are one row. None is an empty place.
    """
    if len(rows) == 1:
        return [*lead, *rows[0]]
    longest = max(map(len, rows))
    grid: list[dict[str, Any] | None] = []
    for number in range(max(len(lead), len(rows))):
        row = rows[number] if number < len(rows) else []
        grid.append(lead[number] if number < len(lead) else None)
        grid += [*row, *[None] * (longest - len(row))]
    return grid


def _panels_of(
    subject: Subject,
    is_named: bool,
    frame: Frame,
    shown: Shown,
    labels: np.ndarray,
    attention: np.ndarray | None,
) -> list[dict[str, Any]]:
    """Returns the panels of one model: prediction, errors, attention."""
    name, palette = subject.name, subject.predictor.palette
    series = charts.series(subject.number) if is_named else ""
    end = f" by {name}" if is_named else ""
    alt = f"Prediction of {shown.name}{end}, classes in colour"
    panels = [_panel("prediction", frame.labels(labels, palette), alt, series)]
    if shown.truth is not None:
        wrong = (labels != shown.truth) & (shown.truth != IGNORE_LABEL)
        alt = f"Wrong pixels of {shown.name}{end}, in red: {wrong.mean():.1%}"
        panels.append(_panel("errors", frame.marked(wrong), alt, series))
    if attention is not None:
        alt = f"Attention of the context block{end} in {shown.name}"
        panels.append(_panel("attention", frame.heat(attention), alt, series))
    return panels


def _panel(title: str, address: str, alt: str, series: str = "") -> dict[str, Any]:
    is_map = title in ("truth", "prediction")
    return {
        "title": title,
        "src": address,
        "alt": alt,
        "series": series,
        "is_map": is_map,
    }


def _legend(subject: Subject, maps: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Lists the classes that are seen in some maps, the largest first."""
    counts = np.sum([np.bincount(ids.ravel(), minlength=256) for ids in maps], axis=0)
    counts = counts[: len(subject.predictor.classes)]
    shares = counts / max(counts.sum(), 1)
    order = np.argsort(-shares, kind="stable")[:_LEGEND]
    return [
        {
            "name": subject.predictor.classes[index].strip(),
            "rgb": subject.predictor.palette[index],
        }
        for index in order
        if shares[index] >= _VISIBLE
    ]


def _mostly(
    subject: Subject, truth: np.ndarray | None, labels: np.ndarray
) -> dict[str, Any] | None:
    """Returns the commonest confusion in an image; None where nothing is wrong."""
    if truth is None:
        return None
    wrong = (labels != truth) & (truth != IGNORE_LABEL)
    if not wrong.any():
        return None
    pairs = truth[wrong].astype(np.int64) << 8 | labels[wrong]
    most = int(np.bincount(pairs).argmax())
    classes = subject.predictor.classes
    return {
        "truth": classes[most >> 8].strip(),
        "prediction": classes[most & 255].strip(),
    }
