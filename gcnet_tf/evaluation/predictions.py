"""Predictions of image files: planned before the first is written, and written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gcnet_tf.data.records.threads import side_by_side
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, image_files
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.prediction_files import (
    Task,
    check_files,
    image_hash,
    overlay_step,
    prediction_record,
    record_of,
    write_prediction,
)
from gcnet_tf.evaluation.tiff_rows import TiffRows, open_rows
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image


class Outcome(NamedTuple):
    """The result of `write_predictions`.

    Attributes:
        num_written: number of images that were segmented.
        num_present: number of images whose prediction was there already.
        failures: a sentence about each of the other images.
    """

    num_written: int
    num_present: int
    failures: list[str]


class Segmented(NamedTuple):
    """A prediction that is not written yet.

    Attributes:
        labels: class ids, uint8 (height, width).
        image: the image, see `segmented`.
        record: its `prediction_record`.
    """

    labels: np.ndarray
    image: np.ndarray
    record: str


def plan(source: Path, out: Path, file_format: str) -> list[Task]:
    """Plans the files of all predictions, before the first is written.

    Args:
        source: an image, or a folder, whose sub-folders are kept in `out`.
        out: the folder for the predictions.
        file_format: one of `FORMATS`; "ids" has overlays.

    Raises:
        UserError: when there are no images, or when a prediction would replace another
            one, an image, or a file that is no prediction; when a folder cannot be
            written.
    """
    tasks = [
        Task.named(image, out / name_in(source, image), file_format)
        for image in find_images(source)
    ]
    check_files(tasks)
    return tasks


def name_in(source: Path, image: Path) -> Path:
    """Returns an image's path in its source, without the ending: it names the files."""
    root = source if source.is_dir() else source.parent
    return image.relative_to(root).with_suffix("")


def find_images(source: Path) -> list[Path]:
    """Lists an image, or all images in a folder and its sub-folders, sorted.

    Predictions of earlier runs are no images.

    Raises:
        UserError: when there are no images, or a folder cannot be listed.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"There is no image file or folder at {source}.")
    images = [path for path in image_files(source) if record_of(path) is None]
    if not images:
        raise UserError(
            f"No images in {source} and its sub-folders; allowed are files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))} that are not predictions."
        )
    return images


def write_predictions(
    predictor: Predictor, tasks: Sequence[Task], model: str, file_format: str
) -> Outcome:
    """Segments images, and writes the predictions that are missing.

    Images that cannot be segmented are passed over.

    Args:
        predictor: segments the images.
        tasks: the images and their files, see `plan`.
        model: the `model_record` of the predictor.
        file_format: one of `FORMATS`.

    Raises:
        UserError: when a file cannot be written.
    """
    num_written = num_present = 0
    failures = []

    def attempt(task: Task) -> tuple[Task, Segmented | UserError | None]:
        try:
            return task, segment_missing(predictor, task, model, file_format)
        except UserError as error:
            return task, error

    with side_by_side(predictor.parallel) as in_order:
        results = in_order(attempt, tasks)
        bar = tqdm(results, "predict", len(tasks), unit="img", disable=None)
        for task, result in bar:
            if result is None:
                num_present += 1
            elif isinstance(result, UserError):
                failures.append(str(result))
            else:
                labels, image, record = result
                write_prediction(predictor, task, image, labels, record, file_format)
                num_written += 1
    return Outcome(num_written, num_present, failures)


def segment_missing(
    predictor: Predictor, task: Task, model: str, file_format: str
) -> Segmented | None:
    """Segments an image; returns None where its prediction is there.

    Args:
        predictor, model, file_format: as in `write_predictions`.
        task: the image and its files.

    Raises:
        UserError: when the image cannot be read or segmented; it names the file.
    """
    assert task.image is not None  # planned tasks have files
    record = prediction_record(image_hash(task.image), model, file_format)
    if all(record_of(file) == record for file in task.files):
        return None
    return Segmented(*segmented(predictor, task.image), record)


def segmented(predictor: Predictor, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class ids of an image, and the image, RGB uint8.

    Of a TIFF that is read by rows, the image has only the pixels of its overlay.

    Raises:
        UserError: when the image cannot be read or segmented; it names the file.
    """
    if predictor.protocol.mode == "tiled":
        with open_rows(path) as rows:
            if rows is not None:
                with _naming(path):
                    return _segmented_by_rows(predictor, rows)
    image = read_image(path)
    with _naming(path):
        return predictor.labels(image), image


def _segmented_by_rows(
    predictor: Predictor, rows: TiffRows
) -> tuple[np.ndarray, np.ndarray]:
    try:
        labels = predictor.labels_by_rows(rows.read, rows.size)
        return labels, rows.picture(overlay_step(rows.size))
    except MemoryError:
        height, width = rows.size
        raise UserError(
            f"{width}x{height} pixels (width x height) do not fit into the memory: "
            "class ids take a byte a pixel. Cut it into parts that overlap a little."
        ) from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the image's file in front of an error."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
