"""Prediction files, with our class ids or in the format of a test server.

The servers of Cityscapes and ADE20K expect one 8-bit PNG per image, named after it,
with their own ids (docs/reference.md, section 5.6).
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.data.catalog import CITYSCAPES_IDS
from gcnet_tf.data.sources.folders import list_images
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import new_file
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.visualize.pictures import overlay, with_legend

# The id that the server of a data set expects for each class, in the order of our ids.
SERVER_IDS = {
    "cityscapes": CITYSCAPES_IDS,
    "ade20k": tuple(range(1, 151)),
}
FORMATS = ("ids", *SERVER_IDS)


def server_ids(labels: np.ndarray, file_format: str) -> np.ndarray:
    """Converts class ids to those of a format.

    Args:
        labels: uint8 `(height, width)`, our class ids.
        file_format: one of `FORMATS`; "ids" leaves the ids unchanged.

    Returns:
        uint8 `(height, width)`.
    """
    if file_format == "ids":
        return labels
    return np.array(SERVER_IDS[file_format], np.uint8)[labels]


def check_format(file_format: str, dataset: str) -> None:
    """Checks that a model has the classes of a format.

    Raises:
        UserError: when it has others.
    """
    if file_format not in ("ids", dataset):
        raise UserError(
            f"--format {file_format}: received a model of the data set "
            f"'{dataset}'; the server's ids are those of '{file_format}' classes "
            "only. Leave out --format for plain class ids."
        )


def find_images(path: Path) -> list[Path]:
    """Lists the images of a path, see `list_images`.

    Raises:
        UserError: when there are no images, or two have the same name.
    """
    images = list_images(path)
    by_stem: dict[str, Path] = {}
    for image in images:
        first = by_stem.setdefault(image.stem, image)
        if first != image:
            raise UserError(
                f"{first} and {image} have the same name, so that one prediction would "
                "replace the other; segment the folders one at a time."
            )
    return images


def check_folder(out: Path, images: Sequence[Path]) -> None:
    """Checks that predictions, NAME.png, do not replace the images.

    Raises:
        UserError: when they could.
    """
    if out.resolve() in {image.parent.resolve() for image in images}:
        raise UserError(
            f"--out {out} is where the images lie, and NAME.png of a prediction could "
            "replace an image; choose another folder."
        )


def write_predictions(
    predictor: Predictor, images: Sequence[Path], out: Path, file_format: str
) -> list[Path]:
    """Segments images; writes NAME.png, and for "ids" also NAME_overlay.png.

    Args:
        predictor: segments the images.
        images: the files of the images.
        out: the folder for the predictions.
        file_format: one of `FORMATS`.

    Returns:
        The files NAME.png.

    Raises:
        UserError: when an image cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(images, desc="predict", unit="img", disable=None):
        image = read_image(path)
        labels = predictor.labels(image)
        ids = server_ids(labels, file_format)
        Image.fromarray(ids).save(out / f"{path.stem}.png")
        if file_format == "ids":
            picture = overlay(image, labels, predictor.palette)
            legend = with_legend(picture, labels, predictor.classes, predictor.palette)
            legend.save(out / f"{path.stem}_overlay.png")
    return [out / f"{path.stem}.png" for path in images]


def write_zip(archive: Path, files: Sequence[Path]) -> None:
    """Packs files, without their folders, into an archive, whole or not at all.

    Raises:
        UserError: when the archive cannot be written.
    """
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # Stored without compression: PNGs are compressed already.
        with (
            new_file(archive) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target,
        ):
            for file in tqdm(files, desc="zip", unit="file", disable=None):
                target.write(file, file.name)
    except OSError as error:
        raise UserError(f"Cannot write {archive}: {error}") from error
