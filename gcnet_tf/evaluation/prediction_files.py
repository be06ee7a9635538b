"""The files of a prediction: class ids and an overlay, which are never mixed up.

Each file holds a record, a hash of the image, the model and the settings that it was
made from. So a second run knows what is missing, and no other file is ever replaced.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.evaluation.submission import server_ids
from gcnet_tf.files.atomic import partial_path
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.results import new_result, require_place
from gcnet_tf.runtime import Predictor
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
        image: the image's file; None for an image that came from none.
        ids: NAME.png, with class ids.
        overlay: NAME_overlay.png; None for the formats of test servers.
    """

    image: Path | None
    ids: Path
    overlay: Path | None

    @classmethod
    def named(cls, image: Path | None, name: Path, file_format: str = "ids") -> "Task":
        """Names the files of an image by their path without an ending."""
        ids, painted = (name.with_name(name.name + end) for end in _ENDINGS)
        return cls(image, ids, painted if file_format == "ids" else None)

    @property
    def files(self) -> list[Path]:
        """The files of the prediction."""
        return [self.ids] if self.overlay is None else [self.ids, self.overlay]


def check_files(tasks: Sequence[Task]) -> None:
    """Checks the files of predictions before the first is written.

    Raises:
        UserError: as `plan`.
    """
    _check_distinct(tasks)
    for file in {task.ids.parent: task.ids for task in tasks}.values():
        require_place(file)
    _check_replaceable(tasks)


def _check_distinct(tasks: Sequence[Task]) -> None:
    """Checks that no file of a prediction is that of another one, or an image."""
    resolve = cache(Path.resolve)
    images = {task.image.resolve() for task in tasks if task.image}
    sources: dict[Path, Path | None] = {}
    for task in tasks:
        for file in task.files:
            # While it is written, a file has another name.
            for name in (file, partial_path(file)):
                real = resolve(name.parent) / name.name
                if real in images:
                    raise UserError(
                        f"{name}, a prediction of {task.image}, would replace an image "
                        "that is to be segmented; choose another folder."
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
                    "would be replaced. Move it away, or choose another folder."
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


def write_prediction(
    predictor: Predictor,
    task: Task,
    image: np.ndarray,
    labels: np.ndarray,
    record: str,
    file_format: str = "ids",
) -> None:
    """Writes the files of one prediction.

    Args:
        predictor: has segmented the image.
        task: the files.
        image: the image, see `segmented`.
        labels: its class ids.
        record: its `prediction_record`.
        file_format: one of `FORMATS`.

    Raises:
        UserError: when a file cannot be written.
    """
    _write(server_ids(labels, file_format), task.ids, record)
    if task.overlay is not None:
        painted = painted_image(predictor, image, labels)
        picture = with_legend(painted, labels, predictor.classes, predictor.palette)
        _write(picture, task.overlay, record)


def painted_image(
    predictor: Predictor, image: np.ndarray, labels: np.ndarray, opacity: float = 0.5
) -> np.ndarray:
    """Paints an image of `segmented`, of at most `MAX_OVERLAY_PIXELS`; RGB uint8."""
    step = overlay_step(labels.shape)
    if image.shape[:2] == labels.shape:
        image = image[::step, ::step]
    return overlay(image, labels[::step, ::step], predictor.palette, opacity)


def image_hash(image: Path) -> str:
    """Returns the hex SHA-256 of an image's file.

    Raises:
        UserError: when it cannot be read.
    """
    try:
        return file_sha256(image)
    except OSError as error:
        raise UserError(f"Cannot read {image}: {first_line(error)}.") from error


def prediction_record(image: str, model: str, file_format: str = "ids") -> str:
    """Returns a hash of all that decides a prediction.

    Args:
        image: hash of the image.
        model: the `model_record` of the predictor.
        file_format: one of `FORMATS`.
    """
    return hashlib.sha256(f"{image} {model} {file_format}".encode()).hexdigest()


def overlay_step(size: tuple[int, ...]) -> int:
    """Returns the step between the pixels of an image that its overlay shows."""
    return math.ceil(math.sqrt(size[0] * size[1] / MAX_OVERLAY_PIXELS))


def _write(picture: np.ndarray | Image.Image, path: Path, record: str) -> None:
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    info = PngInfo()
    info.add_text(_RECORD_KEY, record)
    with new_result(path) as partial:
        picture.save(partial, pnginfo=info)
