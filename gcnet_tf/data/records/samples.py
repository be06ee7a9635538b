"""Encoding of a source image and its label, after checks, as records store them.

These checks detect every mistake in a file, once and before training. Pillow and OpenCV
release the interpreter's lock while they decode and encode, so that threads can share
the work.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.sources.exports.drawn import Drawn
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.data.sources.voc import read_sbd_mask
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.image_files import (
    bits_per_channel,
    open_image,
    orientation,
    to_rgb,
)

# Phones write MPO: a JPEG followed by further pictures.
_JPEG_FORMATS = ("JPEG", "MPO")
# cv2.IMWRITE_PNG_FILTER and …_NONE. OpenCV before 4.12 does not define them, and
# ignores them as options.
_PNG_FILTER, _PNG_FILTER_NONE = 19, 8
# Never the id of a colour, because there are at most 255 colours, counted from 0.
_UNKNOWN = 255


class EncodedImage(NamedTuple):
    """An image as the records store it."""

    file_bytes: bytes
    """A JPEG or PNG that every decoder reads as the same RGB."""
    orientation: int
    """EXIF orientation that makes the decoded pixels upright; 1 where they are."""
    size: tuple[int, int]
    """(height, width) of the upright image."""


@dataclass(frozen=True)
class EncodedSample:
    """A sample as the records store it.

    Attributes:
        image: the image.
        label: bytes of an 8-bit grey PNG of training ids.
        histogram: pixels per training id, int64 (256,).
    """

    image: EncodedImage
    label: bytes
    histogram: np.ndarray


def encode_pair(pair: Pair, facts: DatasetFacts) -> EncodedSample:
    """Reads, checks and encodes an image and its label.

    Args:
        pair: the files; its own `facts` are preferred, if it has any.
        facts: the classes, and the map from the label's ids to training ids.

    Raises:
        UserError: when a file cannot be read or does not fit `facts`, or when image and
            label differ in size. The message names the file.
    """
    image = encode_image(pair.image)
    label = read_label(pair.label, pair.facts or facts)
    if label.shape != image.size:
        raise UserError(
            f"Image and label differ in size: {pair.image} is {_size(image.size)}, "
            f"{pair.label} is {_size(label.shape)}. A label has one pixel for every "
            "pixel of the upright image (turned as its EXIF orientation says)."
        )
    histogram = np.bincount(label.ravel(), minlength=256)
    return EncodedSample(image, _png(label), histogram)


def encode_image(path: Path) -> EncodedImage:
    """Returns an image as the records store it.

    The source's own bytes are stored if every decoder reads them as the same RGB: JPEG
    and 8-bit PNG, colour or grey. Their EXIF orientation is stored beside them, because
    a turned photo as PNG would take 7 to 9 times the space, and 2.5 times the time to
    decode. Any other image (CMYK, palette, alpha, BMP, TIFF, ...) is decoded and stored
    as an upright PNG, which is lossless.

    Raises:
        UserError: when the file is not a readable image of up to 8 bits per channel.
    """
    file_bytes, image = open_image(path)
    is_plain = image.format in _JPEG_FORMATS or (
        image.format == "PNG" and bits_per_channel(file_bytes, image) == 8
    )
    if is_plain and image.mode in ("RGB", "L"):
        turn = orientation(file_bytes, image)
        size = (
            image.size if turn > 4 else image.size[::-1]
        )  # Pillow's is (width, height)
        return EncodedImage(file_bytes, turn, size)
    rgb = to_rgb(file_bytes, image, path)
    return EncodedImage(_png(np.asarray(rgb)), 1, (rgb.height, rgb.width))


def read_label(label: Path | Drawn, facts: DatasetFacts) -> np.ndarray:
    """Reads a label as training ids.

    Args:
        label: path of a palette PNG, whose indices are the ids, or of a grey PNG of up
            to 8 bits; of any PNG of 8 bits without alpha where `facts` has label
            colours; or of a .mat file of SBD. Or a label to draw from annotations.
        facts: the classes, and the map from the file's ids to training ids.

    Returns:
        uint8 (height, width), values 0..num_classes-1 and 255 (ignored).

    Raises:
        UserError: when the file has another format or holds an id that is not allowed.
    """
    file_ids = _file_ids(label, facts)
    label_map = np.array(facts.id_map, np.int16)
    present = np.flatnonzero(np.bincount(file_ids.ravel(), minlength=256))
    refused = present[label_map[present] < 0]
    if refused.size:
        values = ", ".join(str(value) for value in refused[:5])
        raise UserError(
            f"{label} holds the value{'s' if refused.size > 1 else ''} {values}"
            f"{' and more' if refused.size > 5 else ''}; allowed are "
            f"{_allowed_text(facts)}. Correct the label or the list of classes, or map "
            "the values by data.label_map."
        )
    return label_map.astype(np.uint8)[file_ids]


def _file_ids(label: Path | Drawn, facts: DatasetFacts) -> np.ndarray:
    if isinstance(label, Drawn):
        return label.ids()
    if label.suffix == ".mat":
        return read_sbd_mask(label)
    return _read_png(label, facts)


def _read_png(path: Path, facts: DatasetFacts) -> np.ndarray:
    """Reads the ids as the file holds them, uint8 (height, width)."""
    file_bytes, image = open_image(path)
    if image.format != "PNG":
        raise UserError(
            f"{path} is a {image.format} file; a label must be a PNG, because other "
            "formats change or cannot hold class ids."
        )
    bit_depth = bits_per_channel(file_bytes, image)
    if facts.label_colours and bit_depth <= 8 and image.mode in ("1", "L", "P", "RGB"):
        return _ids_of_colours(path, np.asarray(image.convert("RGB")), facts)
    if facts.label_colours:
        raise UserError(
            f"{path} is a {bit_depth}-bit {image.mode} PNG; a colour-coded label must "
            "be an RGB or palette PNG of 8 bits without transparency."
        )
    return _ids_of_png(path, image, bit_depth)


def _ids_of_png(path: Path, image: Image.Image, bit_depth: int) -> np.ndarray:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    # The ids of a palette PNG are its indices, which Pillow returns. tf.io.decode_png
    # and cv2 convert the colours to grey instead: 1 becomes 38, 15 becomes 147.
    if image.mode == "P":
        return np.asarray(image)
    if image.mode == "L":
        # Pillow scales 2 and 4 bits to 0..255, so that id 1 becomes 85 or 17.
        return np.asarray(image) // (255 // (2**bit_depth - 1))
    # With the depth, because Pillow gives 16-bit RGB the same mode as 8-bit RGB.
    raise UserError(
        f"{path} is a {bit_depth}-bit {image.mode} PNG; a label must hold one class id "
        "per pixel: a palette PNG, or a grey PNG of 8 bits or fewer without "
        "transparency. Convert colours or 16-bit values to class ids first."
    )


def _ids_of_colours(path: Path, rgb: np.ndarray, facts: DatasetFacts) -> np.ndarray:
    """Returns the ids of the exact colours of uint8 (height, width, 3)."""
    pixels = _pack_colours(rgb)
    ids = _ids_by_colour(facts.label_colours)[pixels]
    unknown = np.unique(pixels[ids == _UNKNOWN])
    if unknown.size:
        colour = (unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255)
        raise UserError(
            f"{path} holds the colour {','.join(map(str, colour))}"
            f"{f' and {unknown.size - 1} more' if unknown.size > 1 else ''}, which the "
            "list of its classes does not have. Masks must be saved without smoothing; "
            "export them again, or add the colour to the list."
        )
    return ids


@lru_cache(maxsize=4)
def _ids_by_colour(colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Returns the id of each of the 2**24 packed colours, uint8; takes 16 MB."""
    ids = np.full(2**24, _UNKNOWN, np.uint8)
    ids[_pack_colours(np.array(colours))] = np.arange(len(colours))
    return ids


def _pack_colours(rgb: np.ndarray) -> np.ndarray:
    """Packs each colour of (..., 3) into one int32."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _allowed_text(facts: DatasetFacts) -> str:
    """Returns the allowed ids in words: "0..20 (21 classes), and 255 (...)"."""
    label_map = np.array(facts.id_map)
    ids = np.flatnonzero((label_map >= 0) & (label_map != IGNORE_LABEL))
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    ranges = [f"{r[0]}..{r[-1]}" if r.size > 1 else str(r[0]) for r in runs]
    ignored = ", ".join(str(i) for i in np.flatnonzero(label_map == IGNORE_LABEL))
    return (
        f"{', '.join(ranges)} ({facts.num_classes} "
        f"class{'' if facts.num_classes == 1 else 'es'}), and {ignored} (not labelled)"
    )


def _png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 (height, width) or RGB (height, width, 3) as PNG without metadata.

    OpenCV does it, because it takes a tenth of Pillow's time for files that are a fifth
    larger.
    """
    # Class ids come in runs of equal values, which a row filter would hide. Without a
    # filter, a label is smaller and takes less than half the time to decode.
    options = [_PNG_FILTER, _PNG_FILTER_NONE]
    if pixels.ndim == 3:
        pixels, options = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), []
    return cv2.imencode(".png", pixels, options)[1].tobytes()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} (width x height)"
