"""Reading image files as upright RGB: training, prediction and boards share the rules.

This module alone of the runtime needs Pillow; `gcnet_tf.runtime` does not import it.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gcnet_tf.errors import UserError

# Pillow loads its rarer formats when they are first used, and other threads that use
# them at that moment fail. Therefore all formats are loaded here.
Image.init()

_ORIENTATION_TAG = 0x0112


def read_image(path: Path) -> np.ndarray:
    """Reads an image as upright RGB uint8 (height, width, 3), as training gets it.

    Raises:
        UserError: when the file is not a readable image.
    """
    return np.asarray(to_rgb(open_image(path)[1], path))


def open_image(path: Path) -> tuple[bytes, Image.Image]:
    """Returns the bytes of an image file, and the image, completely decoded.

    Raises:
        UserError: when the file is not a readable image.
    """
    try:
        file_bytes = path.read_bytes()
        image = Image.open(io.BytesIO(file_bytes))
        # Opening reads only the header, so that a truncated file would pass.
        image.load()
    except MemoryError:
        raise
    # Pillow's plugins raise many kinds of error for a damaged file: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "its format is unknown"  # Pillow's text names a memory address
        raise UserError(
            f"Cannot read {path} as an image: {reason}. "
            "The file may be damaged or cut short; replace it or move it away."
        ) from error
    return file_bytes, image


def is_turned(image: Image.Image) -> bool:
    """Tells whether an image's EXIF data asks to turn or mirror it."""
    return image.getexif().get(_ORIENTATION_TAG) in range(2, 9)


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Returns a decoded image upright and as 8-bit RGB.

    Args:
        image: the decoded image.
        path: its file, for the message.

    Raises:
        UserError: when the pixels have 32 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # As in cv2.imread. Pillow's own convert("RGB") would clip at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(
            f"{path} has 32-bit pixels; convert it to an 8-bit RGB or grey image."
        )
    # Alpha is dropped here, because Pillow would warn of it in a palette.
    image.info.pop("transparency", None)
    return image.convert("RGB")
