"""Pictures of labels: overlays with a legend, panels beside the truth, sheets."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gcnet_tf.visualize.text import Lettering, warn_of_missing_letters

Palette = tuple[tuple[int, int, int], ...]

_MARGIN = 6
_STRIP = 256
# Legends under smaller pictures are hard to read.
_MIN_SIDE = 512
# Width and height of a picture on a sheet.
_TILE = (240, 180)


def colour(labels: np.ndarray, palette: Palette) -> np.ndarray:
    """Colours class ids `(height, width)`; ignored pixels become black.

    Returns:
        RGB uint8 `(height, width, 3)`.
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[labels]


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Palette, opacity: float = 0.5
) -> np.ndarray:
    """Paints classes over an image, RGB uint8; ignored pixels stay unpainted.

    The borders of classes have full colour, so that they are visible on any texture.
    """
    borders = _borders(labels)
    result = np.empty_like(image)
    # In strips of rows, because a large image in floats may not fit into the memory.
    for start in range(0, len(image), _STRIP):
        rows = slice(start, start + _STRIP)
        share = np.where(borders[rows], np.float32(1), np.float32(opacity))[..., None]
        pixels = image[rows]
        painted = (1 - share) * pixels + share * colour(labels[rows], palette)
        bare = (labels[rows] >= len(palette))[..., None]
        result[rows] = np.where(bare, pixels, painted + 0.5)
    return result


def _borders(labels: np.ndarray) -> np.ndarray:
    """Returns True where the neighbour above or to the left has another class."""
    borders = np.zeros(labels.shape, bool)
    borders[1:] |= labels[1:] != labels[:-1]
    borders[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return borders


def with_legend(
    picture: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    palette: Palette,
) -> Image.Image:
    """Puts a legend of the classes that occur in `labels` under the picture.

    An entry has the colour, the name and the share of the pixels, the largest first. A
    small picture is enlarged by an integer factor.
    """
    factor = max(1, _MIN_SIDE // max(labels.shape))
    if factor > 1:
        picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    warn_of_missing_letters(classes)
    entries = [
        (palette[index], f"{classes[index].strip()} {share:.1%}")
        for index, share in class_shares(labels, len(classes))
    ]
    size = max(11, min(22, picture.shape[1] // 32))
    return _with_entries(Image.fromarray(picture), entries, Lettering(size))


def class_shares(labels: np.ndarray, num_classes: int) -> list[tuple[int, float]]:
    """Lists the classes that occur, with their shares of all pixels, largest first."""
    counts = _counts(labels)[:num_classes]
    order = np.argsort(-counts, kind="stable")
    return [(int(i), float(counts[i] / labels.size)) for i in order if counts[i]]


def _counts(labels: np.ndarray) -> np.ndarray:
    """Counts the pixels of each id, int64 (256,).

    It goes by strips of rows, because numpy counts a copy of eight bytes a pixel.
    """
    counts = np.zeros(256, np.int64)
    for start in range(0, len(labels), _STRIP):
        strip = labels[start : start + _STRIP]
        counts += np.bincount(strip.ravel(), minlength=256)
    return counts


def _with_entries(
    picture: Image.Image,
    entries: list[tuple[tuple[int, int, int], str]],
    font: Lettering,
) -> Image.Image:
    """Adds lines of (colour, text) below a picture."""
    width, height = picture.size
    line = font.size + _MARGIN
    corners, x, y = [], _MARGIN, height + _MARGIN
    for _, text in entries:
        length = line + int(font.length(text)) + 2 * _MARGIN
        if x > _MARGIN and x + length > width:
            x, y = _MARGIN, y + line
        corners.append((x, y))
        x += length
    # A name wider than the picture widens the canvas instead of being cut.
    widths = [
        corner[0] + line + int(font.length(entry[1])) + _MARGIN
        for corner, entry in zip(corners, entries)
    ]
    canvas = Image.new("RGB", (max([width, *widths]), y + line), "white")
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for (x, y), (rgb, text) in zip(corners, entries):
        side = font.size
        draw.rectangle([x, y, x + side, y + side], fill=tuple(rgb), outline="black")
        font.draw(draw, x + line, y - 1, text)
    return canvas


def small_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Palette,
    bounds: tuple[int, int] = _TILE,
) -> Image.Image:
    """Makes an overlay that fits into (width, height), from any image.

    By default that is a tile on a contact sheet.
    """
    height, width = labels.shape
    factor = min(bounds[0] / width, bounds[1] / height)
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    # Resized before painting, so that borders stay one pixel wide.
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    ids = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    return Image.fromarray(overlay(np.asarray(small), np.asarray(ids), palette))


def contact_sheet(
    tiles: Sequence[tuple[str, Image.Image]],
    classes: Sequence[str],
    palette: Palette,
) -> Image.Image:
    """Arranges overlays in a grid, each with its name, above a legend.

    Args:
        tiles: at least one pair of a name and a picture of `small_overlay`.
        classes: names for the legend.
        palette: RGB per class.
    """
    num_columns = min(len(tiles), max(4, math.isqrt(len(tiles))))
    num_rows = -(-len(tiles) // num_columns)
    font = Lettering(12)
    warn_of_missing_letters([*classes, *(name for name, _ in tiles)])
    width = _TILE[0] + _MARGIN
    height = _TILE[1] + font.size + 2 * _MARGIN
    sheet = Image.new("RGB", (num_columns * width, num_rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, tile) in enumerate(tiles):
        row, column = divmod(index, num_columns)
        x, y = column * width + _MARGIN // 2, row * height + _MARGIN // 2
        sheet.paste(tile, (x, y))
        while font.length(name) > _TILE[0]:
            name = name[1:]  # file names differ at their ends
        font.draw(draw, x, y + tile.height + 1, name)
    entries = [(rgb, name.strip()) for rgb, name in zip(palette, classes)]
    return _with_entries(sheet, entries, font)


def panel(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Palette
) -> np.ndarray:
    """Joins image | truth | prediction to RGB uint8 `(height, 3 * width, 3)`."""
    return np.concatenate(
        [image, colour(truth, palette), colour(prediction, palette)], axis=1
    )
