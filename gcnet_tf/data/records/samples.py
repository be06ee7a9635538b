"""Reading one source image and its label, checked, in the form that records store.

Everything that a user can get wrong in a file is found here, once, before training.
Pillow and OpenCV release the interpreter's lock while they decode and encode, so that
threads share the work.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.data.sources.voc import read_sbd_mask
from gcnet_tf.errors import UserError

# Pillow loads its rarer formats on first need, and then lets other threads that need
# them in that moment fail; so load all of them here.
Image.init()

_ORIENTATION_TAG = 0x0112
# Of the first chunk of a PNG, IHDR, which starts at byte 8.
_PNG_BIT_DEPTH_BYTE = 24
# MPO is what phones write: a JPEG with further pictures behind it.
_JPEG_FORMATS = ("JPEG", "MPO")
# cv2.IMWRITE_PNG_FILTER and …_NONE. Before 4.12 OpenCV has neither, and ignores them.
_PNG_FILTER, _PNG_FILTER_NONE = 19, 8
# No id of a colour: there are 255 at most, the first being 0.
_UNKNOWN = 255


@dataclass(frozen=True)
class EncodedSample:
    """One sample as it is stored.

    Attributes:
        image: bytes of a JPEG or PNG that decodes to upright RGB.
        label: bytes of an 8-bit grey PNG of training ids.
        histogram: pixels per training id, int64 (256,).
    """

    image: bytes
    label: bytes
    histogram: np.ndarray


def encode_pair(pair: Pair, facts: DatasetFacts) -> EncodedSample:
    """Reads, checks and encodes an image and its label.

    Args:
        pair: the files; its own `facts` come first.
        facts: the classes, and how to read labels.

    Raises:
        UserError: when a file cannot be read or does not fit `facts`, or when the two
            differ in size. The message names the file.
    """
    image, image_size = encode_image(pair.image)
    label = read_label(pair.label, pair.facts or facts)
    if label.shape != image_size:
        raise UserError(
            f"Image and label differ in size: {pair.image} is {_size(image_size)}, "
            f"{pair.label} is {_size(label.shape)}. A label has one pixel for every "
            "pixel of the upright image (turned as its EXIF orientation says)."
        )
    histogram = np.bincount(label.ravel(), minlength=256)
    return EncodedSample(image, _png(label), histogram)


def encode_image(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Returns the bytes to store for an image, and its upright (height, width).

    The source's own bytes where every decoder reads them as the same upright RGB: JPEG
    and 8-bit PNG, colour or grey, without an EXIF rotation. All else (CMYK, palettes,
    16 bits, alpha, BMP, TIFF, ...) is decoded and stored as PNG, which loses nothing.
    """
    content, image = open_image(path)
    plain = image.format in _JPEG_FORMATS or (
        image.format == "PNG" and content[_PNG_BIT_DEPTH_BYTE] == 8
    )
    if plain and not is_turned(image) and image.mode in ("RGB", "L"):
        return content, (image.height, image.width)
    rgb = to_rgb(image, path)
    return _png(np.asarray(rgb)), (rgb.height, rgb.width)


def is_turned(image: Image.Image) -> bool:
    """Whether its EXIF data says that an image is to be turned or mirrored."""
    return image.getexif().get(_ORIENTATION_TAG) in range(2, 9)


def read_image(path: Path) -> np.ndarray:
    """An image as upright RGB uint8 (height, width, 3), as training would see it.

    Raises:
        UserError: when the file is not a readable image.
    """
    return np.asarray(to_rgb(open_image(path)[1], path))


def read_label(path: Path, facts: DatasetFacts) -> np.ndarray:
    """Reads a label as training ids.

    Args:
        path: a palette PNG, whose indices are the ids, or a grey one of up to 8 bits;
            any PNG of 8 bits without alpha where `facts` has label colours; or a .mat
            file of SBD.
        facts: gives the classes and the map from the file's ids to training ids.

    Returns:
        uint8 (height, width), values 0..num_classes-1 and 255 (ignored).

    Raises:
        UserError: when the file is no such one or holds an id that is not allowed.
    """
    raw = read_sbd_mask(path) if path.suffix == ".mat" else _read_png(path, facts)
    label_map = np.array(facts.id_map, np.int16)
    present = np.flatnonzero(np.bincount(raw.ravel(), minlength=256))
    wrong = present[label_map[present] < 0]
    if wrong.size:
        values = ", ".join(str(value) for value in wrong[:5])
        raise UserError(
            f"{path} holds the value{'s' if wrong.size > 1 else ''} {values}"
            f"{' and more' if wrong.size > 5 else ''}; allowed are {_allowed(facts)}. "
            "Correct the label, or the list of classes."
        )
    return label_map.astype(np.uint8)[raw]


def _read_png(path: Path, facts: DatasetFacts) -> np.ndarray:
    """The ids as the file holds them, uint8 (height, width)."""
    content, image = open_image(path)
    if image.format != "PNG":
        raise UserError(
            f"{path} is a {image.format} file; a label must be a PNG, because other "
            "formats change or cannot hold class ids."
        )
    bit_depth = content[_PNG_BIT_DEPTH_BYTE]
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
    # A palette PNG's ids are its indices. Pillow gives them; tf.io.decode_png and cv2
    # look the colours up and turn them to grey: 1 becomes 38, 15 becomes 147.
    if image.mode == "P":
        return np.asarray(image)
    if image.mode == "L":
        # Pillow stretches 2 and 4 bits over 0..255: id 1 comes as 85 or 17.
        return np.asarray(image) // (255 // (2**bit_depth - 1))
    # The depth, because Pillow gives 16-bit RGB the same mode as 8-bit RGB.
    raise UserError(
        f"{path} is a {bit_depth}-bit {image.mode} PNG; a label must hold one class id "
        "per pixel: a palette PNG, or a grey PNG of 8 bits or fewer without "
        "transparency. Convert colours or 16-bit values to class ids first."
    )


def _ids_of_colours(path: Path, rgb: np.ndarray, facts: DatasetFacts) -> np.ndarray:
    """Looks the exact colours of uint8 (height, width, 3) up."""
    pixels = _packed(rgb)
    ids = _colour_table(facts.label_colours)[pixels]
    wrong = np.unique(pixels[ids == _UNKNOWN])
    if wrong.size:
        colour = (wrong[0] >> 16, wrong[0] >> 8 & 255, wrong[0] & 255)
        raise UserError(
            f"{path} holds the colour {','.join(map(str, colour))}"
            f"{f' and {wrong.size - 1} more' if wrong.size > 1 else ''}, which the "
            "list of its classes does not have. Masks must be saved without smoothing; "
            "export them again, or add the colour to the list."
        )
    return ids


@lru_cache(maxsize=4)
def _colour_table(colours: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """The id of each of the 2**24 packed colours, uint8; 16 MB."""
    table = np.full(2**24, _UNKNOWN, np.uint8)
    table[_packed(np.array(colours))] = np.arange(len(colours))
    return table


def _packed(rgb: np.ndarray) -> np.ndarray:
    """Colours (..., 3) as one int32 each."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _allowed(facts: DatasetFacts) -> str:
    """The allowed ids in words, as in "0..20 (21 classes), and 255 (not labelled)"."""
    label_map = np.array(facts.id_map)
    ids = np.flatnonzero((label_map >= 0) & (label_map != IGNORE_LABEL))
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    ranges = [f"{r[0]}..{r[-1]}" if r.size > 1 else str(r[0]) for r in runs]
    ignored = ", ".join(str(i) for i in np.flatnonzero(label_map == IGNORE_LABEL))
    return (
        f"{', '.join(ranges)} ({facts.num_classes} "
        f"class{'' if facts.num_classes == 1 else 'es'}), and {ignored} (not labelled)"
    )


def open_image(path: Path) -> tuple[bytes, Image.Image]:
    """The bytes of an image file and the image, really decoded.

    Raises:
        UserError: when the file is not a readable image.
    """
    try:
        content = path.read_bytes()
        image = Image.open(io.BytesIO(content))
        image.load()  # opening reads the header only: a cut file would pass
    except MemoryError:
        raise
    # Pillow's plugins raise whatever a damaged file leads them to: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its format is unknown"  # Pillow's text names a memory address
        raise UserError(
            f"Cannot read {path} as an image: {reason}. "
            "The file may be damaged or cut short; replace it or move it away."
        ) from error
    return content, image


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """A decoded image upright and as 8-bit RGB; `path` is for the error's message."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # As cv2.imread does. Pillow's own convert("RGB") would clip at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(
            f"{path} has 32-bit pixels; convert it to an 8-bit RGB or grey image."
        )
    # Alpha is left out; Pillow would warn of it in a palette.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 (height, width) or RGB (height, width, 3), without metadata.

    By OpenCV, which takes a tenth of Pillow's time for files that are a fifth larger.
    """
    # Class ids come in runs, which a row filter hides: without one a label is smaller
    # and is decoded in less than half the time.
    options = [_PNG_FILTER, _PNG_FILTER_NONE]
    if pixels.ndim == 3:
        pixels, options = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), []
    return cv2.imencode(".png", pixels, options)[1].tobytes()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} (width x height)"
