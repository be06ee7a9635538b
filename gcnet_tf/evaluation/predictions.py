"""The files of predictions: planned before the first is written, and never mixed up.

Each file holds a record, a hash of the image, the model and the settings that it was
made from. So a second run knows what is missing, and no other file is ever replaced.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.data.sources.files import IMAGE_SUFFIXES, image_files
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.evaluation.submission import server_ids
from gcnet_tf.evaluation.tiff_rows import TiffRows, open_rows
from gcnet_tf.files.atomic import partial_path
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.results import new_result, require_place
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.visualize.pictures import overlay, with_legend

_RECORD_KEY = "gcnet_tf prediction"
# Pillow writes texts in front of the pixels. A PNG's header takes 33 bytes.
_RECORD = re.compile(b"tEXt" + _RECORD_KEY.encode() + b"\0([0-9a-f]{64})")
_HEAD_BYTES = 256
# The most pixels of an overlay: those of larger images show every second pixel of every
# second row, every third one, ..., because few programs open larger pictures.
MAX_OVERLAY_PIXELS = 2**26
# Endings of the class ids and of the overlay.
_ENDINGS = (".png", "_overlay.png")


class Task(NamedTuple):
    """An image, and the files of its prediction.

    Attributes:
        image: the image's file.
        ids: NAME.png, with class ids.
        overlay: NAME_overlay.png; None for the formats of test servers.
    """

    image: Path
    ids: Path
    overlay: Path | None

    @property
    def files(self) -> list[Path]:
        """The files of the prediction."""
        return [self.ids] if self.overlay is None else [self.ids, self.overlay]


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
    root = source if source.is_dir() else source.parent
    tasks = []
    for image in find_images(source):
        name = out / image.relative_to(root).with_suffix("")
        ids, painted = (name.with_name(name.name + end) for end in _ENDINGS)
        tasks.append(Task(image, ids, painted if file_format == "ids" else None))
    _check_distinct(tasks)
    for file in {task.ids.parent: task.ids for task in tasks}.values():
        require_place(file)
    _check_replaceable(tasks)
    return tasks


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


def _check_distinct(tasks: Sequence[Task]) -> None:
    """Checks that no file of a prediction is that of another one, or an image."""
    resolve = cache(Path.resolve)
    images = {task.image.resolve() for task in tasks}
    sources: dict[Path, Path] = {}
    for task in tasks:
        for file in task.files:
            # While it is written, a file has another name.
            for name in (file, partial_path(file)):
                real = resolve(name.parent) / name.name
                if real in images:
                    raise UserError(
                        f"{name}, a prediction of {task.image}, would replace an image "
                        "that is to be segmented; choose another --out."
                    )
                first = sources.setdefault(real, task.image)
                if first != task.image:
                    raise UserError(
                        f"The predictions of {first} and {task.image} would both be "
                        f"{name}; rename one of the images, or segment them into "
                        "different folders."
                    )


def _check_replaceable(tasks: Sequence[Task]) -> None:
    for task in tasks:
        for file in task.files:
            if file.exists() and record_of(file) is None:
                raise UserError(
                    f"{file} exists, and is not a prediction of this version; it "
                    "would be replaced. Move it away, or choose another --out."
                )


def model_record(model_hash: str, predictor: Predictor, config: Config) -> str:
    """Returns a hash of all that decides a model's predictions.

    Args:
        model_hash: hash of the file of the weights.
        predictor: segments images with it.
        config: its configuration.
    """
    parts = [
        model_hash,
        config_to_dict(config)["model"],
        dataclasses.asdict(predictor.protocol),
        predictor.classes,
        predictor.palette,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def record_of(path: Path) -> str | None:
    """Reads the record in the file of a prediction; None for any other file."""
    try:
        with path.open("rb") as file:
            match = _RECORD.search(file.read(_HEAD_BYTES))
    except OSError:
        return None
    return match[1].decode() if match else None


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
    for task in tqdm(tasks, desc="predict", unit="img", disable=None):
        try:
            record = _record(task.image, model, file_format)
            if all(record_of(file) == record for file in task.files):
                num_present += 1
                continue
            labels, picture = _segmented(predictor, task.image)
        except UserError as error:
            failures.append(str(error))
            continue
        _write(server_ids(labels, file_format), task.ids, record)
        if task.overlay is not None:
            step = _step(labels.shape)
            painted = overlay(picture, labels[::step, ::step], predictor.palette)
            _write(
                with_legend(painted, labels, predictor.classes, predictor.palette),
                task.overlay,
                record,
            )
        num_written += 1
    return Outcome(num_written, num_present, failures)


def _record(image: Path, model: str, file_format: str) -> str:
    try:
        text = f"{file_sha256(image)} {model} {file_format}"
    except OSError as error:
        raise UserError(f"Cannot read {image}: {first_line(error)}.") from error
    return hashlib.sha256(text.encode()).hexdigest()


def _segmented(predictor: Predictor, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the class ids of an image, and the image at the size of its overlay."""
    if predictor.protocol.mode == "tiled":
        with open_rows(path) as rows:
            if rows is not None:
                with _naming(path):
                    return _segmented_by_rows(predictor, rows)
    image = read_image(path)
    with _naming(path):
        labels = predictor.labels(image)
    step = _step(labels.shape)
    return labels, image[::step, ::step]


def _segmented_by_rows(
    predictor: Predictor, rows: TiffRows
) -> tuple[np.ndarray, np.ndarray]:
    try:
        labels = predictor.labels_by_rows(rows.read, rows.size)
        return labels, rows.picture(_step(rows.size))
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


def _step(size: tuple[int, ...]) -> int:
    """Returns the step between the pixels of an image that its overlay shows."""
    return math.ceil(math.sqrt(size[0] * size[1] / MAX_OVERLAY_PIXELS))


def _write(picture: np.ndarray | Image.Image, path: Path, record: str) -> None:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    info = PngInfo()
    info.add_text(_RECORD_KEY, record)
    with new_result(path) as partial:
        picture.save(partial, pnginfo=info)
