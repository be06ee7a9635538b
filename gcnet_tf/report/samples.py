"""The images that a page shows, read again: a split's, a folder's, a few of train."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import matching_manifest
from gcnet_tf.data.records.damage import READ_ERRORS
from gcnet_tf.data.records.repair import Repair
from gcnet_tf.data.stream.ahead import decoded_ahead
from gcnet_tf.data.stream.lanes import ALL, Share, split_records
from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import from_bytes
from gcnet_tf.report.pictures import jpeg
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.visualize.pictures import small_overlay

# Number of pictures on the sheet of training images.
SHEET = 12
_PLACES = 3


class Shown(NamedTuple):
    """An image of a page.

    Attributes:
        name: name of its file.
        image: RGB uint8 `(height, width, 3)`.
        truth: class ids `(height, width)`; None where there is none.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray | None


def of_split(config: Config, split: str, indices: Sequence[int]) -> dict[int, Shown]:
    """Reads some images of a split; others are not decoded.

    Args:
        config: names the records.
        split: the split.
        indices: numbers of images in the split, in ascending order.
    """
    with Repair(config, split, on_damage=lambda damaged: None) as repair:
        for _ in range(2):
            try:
                return dict(zip(indices, _read(repair.config, split, indices)))
            except READ_ERRORS as error:
                repair.needed(error)  # which raises where nothing is damaged
    raise UserError(f"The records of {split} in {config.data.records} cannot be read.")


def _read(config: Config, split: str, indices: Sequence[int]) -> list[Shown]:
    manifest = matching_manifest(config, split)
    folder = Path(config.data.records) / split
    records = split_records(folder, manifest, ALL).as_numpy_iterator()
    wanted = set(indices)
    chosen = (record for index, record in enumerate(records) if index in wanted)
    return [
        Shown(from_bytes(sample["name"]), sample["image"], sample["label"])
        for sample in decoded_ahead(chosen)
    ]


def of_folder(paths: Sequence[Path], indices: Sequence[int]) -> dict[int, Shown]:
    """Reads some of a folder's images, which have no truth."""
    return {
        index: Shown(paths[index].name, read_image(paths[index]), None)
        for index in indices
    }


def training_sheet(config: Config, count: int = SHEET) -> list[tuple[str, str]]:
    """Draws the truth over training images that are spread over the split.

    Returns:
        A name and a picture, as a data address, of each; none where they cannot be
        read: a model is often looked at without them.
    """
    palette = facts_of(config.data).palette
    try:
        manifest = matching_manifest(config, "train")
        samples = list(_spread(config, min(count, manifest.num_samples)))
    except (UserError, *READ_ERRORS):
        return []
    tiles = []
    for sample in samples:
        assert sample.truth is not None  # all records have one
        tile = small_overlay(sample.image, sample.truth, palette)
        tiles.append((sample.name, jpeg(np.asarray(tile))))
    return tiles


def _spread(config: Config, count: int) -> Iterator[Shown]:
    """Reads a few neighbours at each of some places: opening a place takes longest."""
    places = min(_PLACES, count)
    for index in range(places):
        samples = evaluation_samples(config, "train", Share(index, places))
        for sample in islice(samples, -(-count // places)):
            yield Shown(from_bytes(sample["name"]), sample["image"], sample["label"])
