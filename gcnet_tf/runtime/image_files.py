"""Reading image files as upright RGB: training, prediction and boards share the rules.

This module alone of the runtime needs Pillow; `gcnet_tf.runtime` does not import it.
"""

import io
import re
import threading
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from gcnet_tf.errors import UserError

# Pillow loads its rarer formats when they are first used, and other threads that use
# them at that moment fail. Therefore all formats are loaded here.
Image.init()

# The most pixels that an image may have; decoded they are 3 GiB. Pillow's own limit, a
# sixth of it, is meant for images that strangers upload.
MAX_PIXELS = 2**30
# The most pixels that a side may have: those that libpng accepts by default, with which
# TensorFlow and OpenCV read and write PNG.
MAX_SIDE = 10**6
# Held while Pillow's limit, a variable of its module, is switched off.
_LIMIT_LOCK = threading.Lock()

_ORIENTATION_TAG = 0x0112
# Tags of a TIFF.
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = 258, 277
# Positions of the bits per channel and of the kind of colour in a PNG, which the first
# chunk, IHDR, holds; and the number of channels by kind.
_PNG_BITS, _PNG_KIND = 24, 25
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# The most bytes that a byte of deflate, the compression of PNG, can stand for.
_MOST_DEFLATED = 1032
# Positions of the bytes per channel in an SGI file, and of the bits less 1 behind the
# start of a JPEG 2000 codestream.
_SGI_BYTES, _J2K_START, _J2K_BITS = 3, b"\xff\x4f\xff\x51", 42
# A Netpbm header with a greatest value, which text after # may interrupt.
_NETPBM = re.compile(rb"P[2356](?:(?:\s|#.*\n)+(\d+)){3}")


def read_image(path: Path) -> np.ndarray:
    """Reads an image as upright RGB uint8 (height, width, 3), as training gets it.

    Raises:
        UserError: when the file is not a readable image of up to 8 bits per channel.
    """
    return np.asarray(to_rgb(*open_image(path), path))


def image_pixels(image: Image.Image) -> np.ndarray:
    """Returns an opened Pillow image as upright RGB uint8, by the rules of files.

    Raises:
        UserError: when it cannot be decoded, has more than 8 bits per channel, or has
            over `MAX_PIXELS` or `MAX_SIDE`.
    """
    path = Path(str(getattr(image, "filename", "") or "The Pillow image"))
    try:
        _check_size(image.size, path)
        file_bytes = _file_of(image)
        if not file_bytes:
            # A copy knows of no format: its pixels tell how many bits they have.
            image = image.copy()
        elif image.format == "PNG":
            _check_amount(file_bytes, image)
        image.load()
        return np.asarray(to_rgb(file_bytes, image, path))
    except (MemoryError, UserError):
        raise
    # As in `open_image`, anything may be raised.
    except Exception as error:
        raise UserError(
            f"Cannot read {path} as an image: {str(error) or type(error).__name__}."
        ) from error


def _file_of(image: Image.Image) -> bytes:
    """Reads the file of a Pillow image; b"" where it has none, or none any more."""
    stream = getattr(image, "fp", None)
    if image.format is None:
        return b""
    if stream is not None and not stream.closed:
        place = stream.tell()
        stream.seek(0)
        file_bytes = stream.read()
        stream.seek(place)
        return file_bytes
    path = Path(str(getattr(image, "filename", "")))
    return path.read_bytes() if path.is_file() else b""


def open_image(path: Path) -> tuple[bytes, Image.Image]:
    """Returns the bytes of an image file, and the image, completely decoded.

    Raises:
        UserError: when the file is not a readable image, or has over `MAX_PIXELS` or
            `MAX_SIDE`.
    """
    try:
        file_bytes = path.read_bytes()
        image = open_header(file_bytes, path)
        if image.format == "PNG":
            _check_amount(file_bytes, image)
        # Opening reads only the header, so that a truncated file would pass.
        image.load()
    except (MemoryError, UserError):
        raise
    # Pillow's plugins raise many kinds of error for a damaged file: OSError,
    # SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            _refuse_bands(file_bytes, path)
            # Pillow's text names a memory address.
            reason = "its format, or the format of its pixels, is unknown"
        raise UserError(
            f"Cannot read {path} as an image: {reason}. "
            "The file may be damaged or cut short; replace it or move it away."
        ) from error
    return file_bytes, image


def _refuse_bands(file_bytes: bytes, path: Path) -> None:
    """Says which bands a whole TIFF has whose kind of pixels Pillow does not know.

    Raises:
        UserError: for such a TIFF; nothing for any other file.
    """
    try:
        tags = ImageFileDirectory_v2(file_bytes[:8])
        stream = io.BytesIO(file_bytes)
        stream.seek(tags.next)
        tags.load(stream)
        bits, num_bands = max(tags[_BITS_PER_SAMPLE]), int(tags[_SAMPLES_PER_PIXEL])
    except MemoryError:
        raise
    except Exception:  # no TIFF, or a damaged one: anything may be raised
        return
    raise UserError(
        f"{path} is a TIFF with {num_bands} bands of {bits} bits, in a form that is "
        "not read; allowed: RGB of 8 bits, which more bands of 8 bits may follow. "
        "Write the three bands to use as an image of that kind."
    )


def open_header(file_bytes: bytes, path: Path) -> Image.Image:
    """Opens an image file, without decoding it.

    Raises:
        UserError: when it has over `MAX_PIXELS`, or a side over `MAX_SIDE`.
        OSError, SyntaxError, ...: as Pillow does for files that are no images.
    """
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(file_bytes))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    _check_size(image.size, path)
    return image


def _check_size(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise UserError(
            f"{path} has {width}x{height} pixels (width x height), "
            f"{width * height:,}; allowed: {MAX_PIXELS:,} in all and {MAX_SIDE:,} a "
            "side. Cut it into parts that overlap a little, or for prediction write it "
            "as a tiled TIFF of 8-bit RGB, which --mode tiled reads part by part (pip "
            'install "gcnet_tf[tiff]").'
        )


def image_size(path: Path) -> tuple[int, int]:
    """Returns the (height, width) in the header of an image file.

    Raises:
        UserError: when the file cannot be read, or has over `MAX_PIXELS` or `MAX_SIDE`.
    """
    try:
        image = open_header(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    return image.height, image.width


def _check_amount(file_bytes: bytes, image: Image.Image) -> None:
    """Refuses a PNG that has too few bytes for its pixels.

    Pillow makes the missing ones black without a word, and 66 bytes could take
    gigabytes of memory.
    """
    depth = file_bytes[_PNG_BITS] * _PNG_CHANNELS.get(file_bytes[_PNG_KIND], 1)
    if image.width * image.height * depth > 8 * _MOST_DEFLATED * len(file_bytes):
        raise ValueError(
            f"{len(file_bytes)} bytes cannot hold {image.width}x{image.height} pixels"
        )


def orientation(file_bytes: bytes, image: Image.Image) -> int:
    """Returns the EXIF orientation: 1 for upright, 2 to 8 for turned or mirrored."""
    if isinstance(image, TiffImageFile):
        # Pillow turns a TIFF while it decodes it, and forgets the orientation.
        image = open_header(file_bytes, Path())
    value = image.getexif().get(_ORIENTATION_TAG)
    return value if value in range(2, 9) else 1


def upright_size(path: Path) -> tuple[int, int]:
    """Returns the (height, width) of an image after its EXIF orientation.

    Most formats show both in their header, so that no pixel is decoded.

    Raises:
        UserError: when the file is not a readable image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION_TAG) in (5, 6, 7, 8)
            # Pillow states the upright size of a TIFF.
            turned = turned and not isinstance(image, TiffImageFile)
            width, height = image.size
    except MemoryError:
        raise
    # As in `open_image`, anything may be raised.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"Cannot read {path} as an image: {reason}.") from error
    return (width, height) if turned else (height, width)


def bits_per_channel(file_bytes: bytes, image: Image.Image) -> int:
    """Returns the bits of a channel as the file states them.

    Pillow's mode does not tell: it opens a PNG, TIFF or PPM of 16-bit RGB as 8-bit RGB.
    """
    if image.format == "PNG":
        return file_bytes[_PNG_BITS]
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    if image.format == "SGI":
        return 8 * file_bytes[_SGI_BYTES]
    if image.format == "JPEG2000":
        return (file_bytes[file_bytes.find(_J2K_START) + _J2K_BITS] & 0x7F) + 1
    netpbm = _NETPBM.match(file_bytes) if image.format == "PPM" else None
    if netpbm:
        return int(netpbm[1]).bit_length()
    if image.mode.startswith("I;16"):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def num_bands_left_out(image: Image.Image) -> int:
    """Counts the bands of a TIFF that Pillow does not read: infrared, height, ..."""
    if not isinstance(image, TiffImageFile):
        return 0
    return int(image.tag_v2.get(_SAMPLES_PER_PIXEL, 1)) - len(image.getbands())


def has_more_pictures(image: Image.Image) -> bool:
    """Tells whether a file holds pages or frames after the one that is read."""
    if image.format == "MPO":  # a photo with its own preview
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except MemoryError:
        raise
    # As in `open_image`, anything may be raised, here by damage behind the first frame.
    except Exception:
        return True


def to_rgb(file_bytes: bytes, image: Image.Image, path: Path) -> Image.Image:
    """Returns a decoded image upright and as 8-bit RGB.

    Args:
        file_bytes: bytes of the file, of which the header is read.
        image: the decoded image.
        path: its file, for the message.

    Raises:
        UserError: when a channel has more than 8 bits. The file does not say which
            value is white: sensors write 12 bits into 16, and a division by 256 would
            make that black.
    """
    bits = bits_per_channel(file_bytes, image)
    if bits > 8:
        raise UserError(
            f"{path} has {bits} bits per channel; allowed: 8. Convert it, with the "
            'value of white (such as 4095) for WHITE: python -c "import cv2; a = '
            "cv2.imread('IN', -1) * (255 / WHITE); cv2.imwrite('OUT.png', "
            "a.clip(0, 255).round().astype('uint8'))\""
        )
    image = ImageOps.exif_transpose(image)
    # Alpha is dropped here, because Pillow would warn of it in a palette.
    image.info.pop("transparency", None)
    return image if image.mode == "RGB" else image.convert("RGB")
