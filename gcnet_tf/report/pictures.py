"""Pictures of a page, as data addresses: photos, class ids, errors, attention."""

import base64
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.runtime.resize import resize_logits
from gcnet_tf.visualize.pictures import Palette

# Longest side of a picture in pixels: sharp on phones, small enough for a mail.
LONGEST = 440
_QUALITY = 82
_RED = (222, 58, 46)
_OPACITY = np.float32(0.85)


class Frame:
    """An image and its class ids, made small enough for a page."""

    def __init__(self, image: np.ndarray, longest: int = LONGEST):
        """Makes an image smaller.

        Args:
            image: RGB uint8 `(height, width, 3)`.
            longest: greatest length of its sides.
        """
        height, width = image.shape[:2]
        factor = min(longest / max(height, width), 1)
        self.size = (max(round(width * factor), 1), max(round(height * factor), 1))
        small = Image.fromarray(image).resize(self.size, Image.Resampling.BOX)
        self.image = np.asarray(small)

    def shrunk(self, ids: np.ndarray) -> np.ndarray:
        """Makes class ids `(height, width)`, or Booleans, as small as the image."""
        small = Image.fromarray(ids.astype(np.uint8))
        return np.asarray(small.resize(self.size, Image.Resampling.NEAREST))

    def photo(self) -> str:
        """Returns the image."""
        return jpeg(self.image)

    def labels(self, ids: np.ndarray, palette: Palette) -> str:
        """Returns class ids in colour; pixels that are not labelled are transparent."""
        return index_png(self.shrunk(ids), palette)

    def marked(self, where: np.ndarray) -> str:
        """Returns the image in grey, with some pixels `(height, width)` in red."""
        grey = self._grey()
        red = self.shrunk(where).astype(bool)
        grey[red] = (1 - _OPACITY) * grey[red] + _OPACITY * np.array(_RED)
        return jpeg(grey.astype(np.uint8), subsampling=0)

    def heat(self, values: np.ndarray) -> str:
        """Returns the image in grey under a map of any size, from its least value on.

        Bright colours are large values.
        """
        from matplotlib import colormaps

        values = np.nan_to_num(values.astype(np.float32))
        large = resize_logits(values[..., np.newaxis], self.size[::-1], False)[..., 0]
        spread = large.max() - large.min()
        shares = (large - large.min()) / (spread if spread > 0 else 1)
        colours = 255 * colormaps["inferno"](shares)[..., :3].astype(np.float32)
        return jpeg((0.35 * self._grey() + 0.65 * colours).astype(np.uint8))

    def _grey(self) -> np.ndarray:
        """Returns the image in pale grey, float32 (height, width, 3)."""
        grey = np.asarray(Image.fromarray(self.image).convert("L"), np.float32)
        return np.repeat((90 + 0.55 * grey)[..., np.newaxis], 3, axis=-1)


def jpeg(image: np.ndarray, subsampling: int = 2) -> str:
    """Encodes RGB uint8 `(height, width, 3)` as a data address."""
    file = BytesIO()
    Image.fromarray(image).save(
        file, "JPEG", quality=_QUALITY, subsampling=subsampling, optimize=True
    )
    return _address("jpeg", file.getvalue())


def index_png(ids: np.ndarray, palette: Palette) -> str:
    """Encodes class ids uint8 `(height, width)` as a data address."""
    picture = Image.fromarray(ids)
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    picture = picture.convert("P")
    picture.putpalette(colours.tobytes())
    return _png(picture, transparency=IGNORE_LABEL)


def tinted_png(opacity: np.ndarray, right: Sequence[int], wrong: Sequence[int]) -> str:
    """Encodes a matrix: opacities in [0, 1], its diagonal in another colour.

    It lies over the page's own ground, light or dark.

    Args:
        opacity: `(classes, classes)`.
        right, wrong: RGB of the diagonal and of the rest.
    """
    pixels = np.empty((*opacity.shape, 4), np.uint8)
    pixels[..., :3] = wrong
    np.einsum("iic->ic", pixels)[:, :3] = right
    pixels[..., 3] = np.rint(255 * np.clip(opacity, 0, 1))
    return _png(Image.fromarray(pixels))


def _png(picture: Image.Image, **options: int) -> str:
    file = BytesIO()
    picture.save(file, "PNG", optimize=True, **options)
    return _address("png", file.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
