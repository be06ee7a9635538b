"""The making of a report: the assembly module of this package."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.errors import UserError
from gcnet_tf.report.counted.findings import Collector, find
from gcnet_tf.report.counted.selection import Selection, select
from gcnet_tf.report.exported import ExportedFile, exported_files
from gcnet_tf.report.page import Material, write_page
from gcnet_tf.report.samples import Shown, of_folder, of_split
from gcnet_tf.report.subjects import Subject, require_same_images
from gcnet_tf.runtime.image_files import read_image

_NOTHING = Selection([], [], [])
# Number of images that cannot be segmented whose reasons a page gives.
_MOST_REFUSED = 5


def report_on_split(
    out: Path,
    subjects: Sequence[Subject],
    split: str,
    command: str,
    exports: Path | None,
) -> None:
    """Evaluates models on a split, and writes a page about them.

    Args:
        out: the page.
        subjects: the models; findings are added to them.
        split: the split, whose records are there.
        command: the line for the shell that makes the page.
        exports: a folder of exported files; None for that of an exported model.

    Raises:
        UserError: when the records cannot be read, or the page not be written.
    """
    require_same_images(subjects, split)
    with ExitStack() as stack:
        for subject in subjects:
            reading = stack.enter_context(pinned(subject.config, [split]))
            first = subjects[0].findings
            labels = first.labels if first else []
            subject.findings = find(subject.predictor, reading, split, labels)
        selection = _selection(subjects)
        # Those of the first model, whose records hold the same as the others'.
        reading = stack.enter_context(pinned(subjects[0].config, [split]))
        shown = of_split(reading, split, selection.all)
    exported = _exported(subjects[0], exports)
    write_page(out, subjects, Material(split, selection, shown, exported, command))


def report_on_photos(
    out: Path,
    subjects: Sequence[Subject],
    paths: Sequence[Path],
    command: str,
    exports: Path | None,
) -> None:
    """Segments images without a truth, and writes a page about them.

    Args:
        out, subjects, command, exports: as for `report_on_split`.
        paths: the images; those that cannot be read are named on the page.

    Raises:
        UserError: when no image can be read or segmented, or the page not be written.
    """
    notes = ["These images have no truth, so nothing is said about right and wrong."]
    collectors = [Collector(s.predictor, len(paths), []) for s in subjects]
    readable: list[Path] = []
    refused: list[str] = []
    for path in tqdm(paths, desc="segment", unit="img", disable=None):
        try:
            image = read_image(path)
            predicted = [collector.predict(image) for collector in collectors]
        except UserError as error:
            refused.append(f"{path.name}: {error}")
            continue
        for collector, (labels, error_share) in zip(collectors, predicted):
            collector.compare_with(collectors[0].findings.labels)
            collector.add_photo(len(readable), labels, error_share)
        readable.append(path)
    if not readable:
        raise UserError(f"--image: no image can be segmented. {refused[0]}")
    notes += refused[:_MOST_REFUSED]
    if len(refused) > _MOST_REFUSED:
        notes.append(f"And {len(refused) - _MOST_REFUSED} images more.")
    for subject, collector in zip(subjects, collectors):
        subject.findings = collector.findings
    selection = _selection(subjects)
    shown: dict[int, Shown] = of_folder(readable, selection.all)
    exported = _exported(subjects[0], exports)
    write_page(out, subjects, Material("", selection, shown, exported, command, notes))


def report_without_images(
    out: Path,
    subjects: Sequence[Subject],
    reason: str,
    command: str,
    exports: Path | None,
) -> None:
    """Writes a page about models alone: their training, data and exported files.

    Args:
        out, subjects, command, exports: as for `report_on_split`.
        reason: a sentence that tells why nothing was evaluated.

    Raises:
        UserError: when the page cannot be written.
    """
    notes = [f"Nothing was evaluated. {reason}"]
    exported = _exported(subjects[0], exports)
    write_page(out, subjects, Material("", _NOTHING, {}, exported, command, notes))


def _selection(subjects: Sequence[Subject]) -> Selection:
    findings = [subject.findings for subject in subjects if subject.findings]
    errors = np.mean([one.errors for one in findings], axis=0)
    apart = None
    if len(findings) > 1:
        apart = np.max([one.apart for one in findings[1:]], axis=0)
    return select(errors, apart)


def _exported(subject: Subject, folder: Path | None) -> list[ExportedFile]:
    size = subject.config.augment.crop_size
    if folder is not None:
        return exported_files(folder, size, subject.weights())
    if subject.segmentor is None:
        return exported_files(subject.path.absolute().parent, size, subject.weights())
    return []
