"""Pictures of predictions: overlays with a legend, and panels beside the truth."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Palette = tuple[tuple[int, int, int], ...]

_MARGIN = 6
# Legends under smaller pictures are hard to read.
_MIN_SIDE = 512


def colour(labels: np.ndarray, palette: Palette) -> np.ndarray:
    """Class ids `(height, width)` as RGB uint8 `(height, width, 3)`; black: ignored."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Palette, opacity: float = 0.5
) -> np.ndarray:
    """The image with classes painted over it, RGB uint8; ignored pixels stay bare.

    A class's border is painted in full colour, to be seen on any texture.
    """
    alpha = np.where(_borders(labels), 1.0, opacity)[..., None]
    painted = (1 - alpha) * image + alpha * colour(labels, palette)
    bare = (labels >= len(palette))[..., None]
    return np.where(bare, image, painted + 0.5).astype(np.uint8)


def _borders(labels: np.ndarray) -> np.ndarray:
    """True where the neighbour above or to the left is of another class."""
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

    Each entry is the colour, the name and the share of the pixels, largest first. A
    small picture is enlarged by a whole factor.
    """
    factor = max(1, _MIN_SIDE // max(labels.shape))
    picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    counts = np.bincount(labels.ravel(), minlength=256)[: len(classes)]
    order = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
    entries = [
        (palette[index], f"{classes[index].strip()} {counts[index] / labels.size:.1%}")
        for index in order
    ]
    height, width = picture.shape[:2]
    font = ImageFont.load_default(size=max(11, min(22, width // 32)))
    line = font.size + _MARGIN
    places, x, y = [], _MARGIN, height + _MARGIN
    for _, text in entries:
        length = line + int(font.getlength(text)) + 2 * _MARGIN
        if x > _MARGIN and x + length > width:
            x, y = _MARGIN, y + line
        places.append((x, y))
        x += length
    # A name wider than the picture widens the canvas instead of being cut.
    widths = [
        place[0] + line + int(font.getlength(entry[1])) + _MARGIN
        for place, entry in zip(places, entries)
    ]
    canvas = Image.new("RGB", (max([width, *widths]), y + line), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for (x, y), (rgb, text) in zip(places, entries):
        side = font.size
        draw.rectangle([x, y, x + side, y + side], fill=tuple(rgb), outline="black")
        draw.text((x + line, y - 1), text, fill="black", font=font)
    return canvas


def panel(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, palette: Palette
) -> np.ndarray:
    """Image | truth | prediction side by side, RGB uint8 `(height, 3 * width, 3)`."""
    return np.concatenate(
        [image, colour(truth, palette), colour(prediction, palette)], axis=1
    )
