"""The page: its parts put together, and its template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gcnet_tf.config import config_to_dict, format_json
from gcnet_tf.files.results import write_result
from gcnet_tf.files.versions import package_versions
from gcnet_tf.processor import processor
from gcnet_tf.report import charts, views
from gcnet_tf.report.counted.selection import Selection
from gcnet_tf.report.exported import ExportedFile
from gcnet_tf.report.figures import figures
from gcnet_tf.report.samples import Shown
from gcnet_tf.report.subjects import Subject
from gcnet_tf.training.monitor.run_folder import PACKAGES

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Material:
    """All that a page shows beside its models.

    Attributes:
        split: the split that was evaluated; "" where there was none.
        selection: numbers of the images that are shown.
        shown: these images.
        exported: exported files of the first model.
        command: the line for the shell that made the page.
        notes: sentences about what is missing.
    """

    split: str
    selection: Selection
    shown: Mapping[int, Shown]
    exported: Sequence[ExportedFile]
    command: str
    notes: list[str] = field(default_factory=list)


def write_page(path: Path, subjects: Sequence[Subject], material: Material) -> None:
    """Writes the page, whole or not at all.

    Raises:
        UserError: when it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["decimal"] = decimal
    environment.filters["change"] = change
    environment.filters["rgb"] = lambda colour: "rgb({},{},{})".format(*colour)
    template = environment.get_template("page.html")
    write_result(path, template.render(_context(subjects, material)))


def percent(share: float | None, digits: int = 1) -> Markup:
    """Formats a share of 1 in percent, beside the share as it is."""
    return _number(share, 100, digits)


def change(share: float) -> Markup:
    """Formats a difference of two shares in percent, with its sign."""
    return _number(share, 100, 1, sign="+")


def decimal(value: float | None, digits: int = 0) -> Markup:
    """Formats a number, beside the number as it is."""
    return _number(value, 1, digits)


def _number(value: float | None, factor: int, digits: int, sign: str = "-") -> Markup:
    if value is None or np.isnan(value):
        return Markup('<span class="none">–</span>')
    text = f"{factor * value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return Markup('<data value="{}">{}</data>').format(repr(float(value)), text)


def _context(subjects: Sequence[Subject], material: Material) -> dict[str, Any]:
    evaluated = [subject for subject in subjects if subject.findings]
    with_truth = [s for s in evaluated if s.findings and s.findings.metrics]
    rows = views.class_rows(subjects)
    return {
        "title": " · ".join(subject.name for subject in subjects),
        "models": [views.overview(subject) for subject in subjects],
        "is_evaluated": bool(with_truth),
        "has_images": bool(evaluated),
        "num_images": len(subjects[0].findings.labels) if subjects[0].findings else 0,
        "split": material.split,
        "selection": material.selection,
        "figures": figures(evaluated, material.shown) if evaluated else {},
        "has_scores": not np.isnan([row["scores"][0]["iou"] for row in rows]).all(),
        "classes": rows,
        "names": [name.strip() for name in subjects[0].predictor.classes],
        "palette_of": subjects[0].predictor.palette,
        "recorded": subjects[0].log.best.get("iteration"),
        "confusions": [views.confusion_view(subject) for subject in with_truth],
        "reliability": views.reliability(with_truth),
        "sizes": views.object_sizes(with_truth),
        "size_bins": [
            (charts.series(s.number), s.findings.objects.bins())
            for s in with_truth
            if s.findings
        ],
        "curves": views.curve_charts(subjects),
        "data": views.data_view(subjects[0], material.split or "val"),
        "predicted": _predicted(subjects[0]),
        "exported": material.exported,
        "processor": processor(),
        "versions": package_versions(PACKAGES),
        "trained_with": [(s.name, s.versions) for s in subjects if s.versions],
        "configs": [(s.name, format_json(config_to_dict(s.config))) for s in subjects],
        "command": material.command,
        "notes": material.notes,
    }


def _predicted(subject: Subject) -> list[dict[str, Any]]:
    """Lists the share of the pixels that each class is predicted for."""
    if not subject.findings:
        return []
    counts = subject.findings.predicted
    total = max(counts.sum(), 1)
    order = np.argsort(-counts, kind="stable")
    predictor = subject.predictor
    return [
        {
            "name": predictor.classes[index].strip(),
            "rgb": predictor.palette[index],
            "share": float(counts[index] / total),
        }
        for index in order
        if counts[index]
    ]
