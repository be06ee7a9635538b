"""Predictions in files, also in the form that test servers take.

Those of Cityscapes and ADE20K want one 8-bit PNG per image, named after it, with ids of
their own (parity specification, section 5.6).
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.data.catalog import CITYSCAPES_IDS
from gcnet_tf.data.records.samples import read_image
from gcnet_tf.data.sources.folders import IMAGE_SUFFIXES, list_images
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import new_file
from gcnet_tf.runtime import Predictor
from gcnet_tf.visualize.pictures import overlay, with_legend

# By data set: the id that the server expects for each class, in the order of ours.
SERVER_IDS = {
    "cityscapes": CITYSCAPES_IDS,
    "ade20k": tuple(range(1, 151)),
}
FORMATS = ("ids", *SERVER_IDS)


def server_ids(labels: np.ndarray, file_format: str) -> np.ndarray:
    """Class ids as another format writes them.

    Args:
        labels: uint8 `(height, width)`, ids of our classes.
        file_format: one of `FORMATS`; "ids" leaves them as they are.
    """
    if file_format == "ids":
        return labels
    return np.array(SERVER_IDS[file_format], np.uint8)[labels]


def check_format(file_format: str, dataset: str) -> None:
    """Checks that a model's classes are those that a format is for.

    Raises:
        UserError: when they are not.
    """
    if file_format not in ("ids", dataset):
        raise UserError(
            f"--format {file_format}: received a model of the data set "
            f"'{dataset}'; the server's ids are those of '{file_format}' classes "
            "only. Leave out --format for plain class ids."
        )


def find_images(path: Path) -> list[Path]:
    """As `list_images`; of a folder without images, those of its sub-folders.

    Cityscapes keeps a folder for each city.

    Raises:
        UserError: when there are none, or two share a name.
    """
    children = sorted(path.iterdir()) if path.is_dir() else []
    folders = [path]
    if not any(child.suffix.lower() in IMAGE_SUFFIXES for child in children):
        folders = [child for child in children if child.is_dir()] or [path]
    images = [image for folder in folders for image in list_images(folder)]
    by_stem: dict[str, Path] = {}
    for image in images:
        other = by_stem.setdefault(image.stem, image)
        if other != image:
            raise UserError(
                f"{other} and {image} have the same name, so that one prediction would "
                "replace the other; segment the folders one at a time."
            )
    return images


def check_folder(out: Path, images: Sequence[Path]) -> None:
    """Checks that predictions, NAME.png, do not replace the images.

    Raises:
        UserError: when they would.
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
        predictor: what segments them.
        images: their files.
        out: the folder.
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
    """Packs files, without their folders, into an archive; whole or not at all.

    Raises:
        UserError: when it cannot be written.
    """
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # Stored as they are: PNGs are compressed.
        with (
            new_file(archive) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target,
        ):
            for file in tqdm(files, desc="zip", unit="file", disable=None):
                target.write(file, file.name)
    except OSError as error:
        raise UserError(f"Cannot write {archive}: {error}") from error
