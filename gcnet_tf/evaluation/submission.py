"""Predictions for test servers: their ids, and the archive that they take.

The servers of Cityscapes and ADE20K expect one 8-bit PNG per image, named after it,
with their own ids (docs/reference.md, section 5.6).
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gcnet_tf.data.catalog import CITYSCAPES_IDS
from gcnet_tf.errors import UserError, require_utf8
from gcnet_tf.files.results import new_result, require_place

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


def check_zip(archive: Path, files: Sequence[Path]) -> None:
    """Checks, before the files are there, that they can be packed into an archive.

    Raises:
        UserError: when the archive cannot be written or hold a name, or two files have
            one name.
    """
    if archive.suffix.lower() != ".zip":
        raise UserError(f"--zip: received {archive}; it must end in .zip.")
    require_place(archive)
    by_name: dict[str, Path] = {}
    for file in files:
        require_utf8(file.name, "--zip")
        first = by_name.setdefault(file.name, file)
        if first != file:
            raise UserError(
                f"--zip: {first} and {file} have the same name, and an archive has no "
                "folders; rename one of the images, or leave out --zip."
            )


def write_zip(archive: Path, files: Sequence[Path]) -> None:
    """Packs files, without their folders, into an archive, whole or not at all.

    Raises:
        UserError: when the archive cannot be written.
    """
    # Stored without compression: PNGs are compressed already.
    with (
        new_result(archive) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as target,
    ):
        for file in tqdm(files, desc="zip", unit="file", disable=None):
            target.write(file, file.name)
