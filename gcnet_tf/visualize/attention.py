"""Attention maps: the attention of a context block, drawn over an image.

The pictures are like figure 1 of the paper (arXiv 1904.11492): the non-local block has
a map for every query, the global context block one map for the whole image.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.files.results import new_result
from gcnet_tf.runtime.resize import resize_image, resize_logits
from gcnet_tf.runtime.windows import keep_ratio_size
from gcnet_tf.visualize.text import font_file

if TYPE_CHECKING:  # so that wrong input is found before TensorFlow starts
    from gcnet_tf.models import Segmentor

Point = tuple[int, int]
"""(x, y) in pixels, from the top left."""

# Largest number of pictures in a row.
_COLUMNS = 4


class AttentionMap(NamedTuple):
    """The attention of one query, or of all positions, to each position."""

    title: str
    point: Point | None
    """The query; None when all positions have the same attention."""
    values: np.ndarray
    """`(height, width)`, at the features' size."""


def parse_points(texts: Sequence[str], size: tuple[int, int]) -> list[Point]:
    """Reads points in an image from words such as "120,80".

    Args:
        texts: the user's texts, each with one word or several.
        size: (height, width) of the image.

    Raises:
        UserError: when a word is no point, or a point is outside the image.
    """
    height, width = size
    points = []
    for word in " ".join(texts).split():
        match = re.fullmatch(r"(-?\d+),(-?\d+)", word)
        if not match:
            raise UserError(
                f'--points: received "{word}"; allowed are points such as 120,80: '
                "pixels to the right and down."
            )
        x, y = int(match[1]), int(match[2])
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(
                f"--points: {x},{y} is outside the image, which is {width} wide and "
                f"{height} high; allowed are 0,0 to {width - 1},{height - 1}."
            )
        points.append((x, y))
    if not points:
        raise UserError('--points: received none; give some, such as "120,80".')
    return points


def spread_points(size: tuple[int, int]) -> list[Point]:
    """Returns the middles of an image's four quarters."""
    height, width = size
    return [
        (width * x // 4, height * y // 4) for y, x in ((1, 1), (1, 3), (3, 1), (3, 3))
    ]


def attention_maps(
    name: str,
    model: "Segmentor",
    config: Config,
    image: np.ndarray,
    points: Sequence[Point],
) -> list[AttentionMap]:
    """Computes the attention of a model's context block in a whole image.

    Args:
        name: name of the model, for titles and messages.
        model: the model.
        config: its configuration.
        image: RGB uint8 `(height, width, 3)`; it is resized as for evaluation.
        points: the queries.

    Returns:
        One map for each query, or one where all positions get the same context.

    Raises:
        UserError: when the context block has no attention.
    """
    height, width = image.shape[:2]
    shares = [((y + 0.5) / height, (x + 0.5) / width) for x, y in points]
    maps = attention_values(name, model, config, image[np.newaxis], shares)[0]
    block = config.model.head.context.block
    if block != "nl":
        return [AttentionMap(f"{name}: {block}, every position", None, maps[0])]
    return [
        AttentionMap(f"{name}: {block}, query {index}", point, values)
        for index, (point, values) in enumerate(zip(points, maps), start=1)
    ]


def attention_values(
    name: str,
    model: "Segmentor",
    config: Config,
    images: np.ndarray,
    shares: Sequence[tuple[float, float]],
) -> np.ndarray:
    """Computes the attention of a model's context block in images of one size.

    Args:
        name: name of the model, for messages.
        model: the model.
        config: its configuration.
        images: RGB uint8 `(batch, height, width, 3)`; resized as for evaluation.
        shares: the queries, shares in [0, 1) of height and width.

    Returns:
        float32 `(batch, queries, height, width)` at the features' size; one query
        stands for all where all positions get the same context.

    Raises:
        UserError: when the context block has no attention.
    """
    height, width = images.shape[1:3]
    size = keep_ratio_size(height, width, config.evaluation.scale)
    try:
        maps = model.attention(resize_image(images, size), shares)
    except ValueError as error:
        raise UserError(
            f"{name} has no attention to show; the context block of its head is "
            f"'{config.model.head.context.block}'. Allowed are models with gc (pooling "
            "att), snl or nl."
        ) from error
    return np.asarray(maps, np.float32)


def draw(
    path: Path,
    image: np.ndarray,
    points: Sequence[Point],
    maps: Sequence[AttentionMap],
) -> None:
    """Writes a PNG: the image with its points, then each map over it.

    Every map has its own colour scale, from its smallest to its largest value, which
    its title gives.

    Raises:
        UserError: when the file cannot be written.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    rows = -(-(1 + len(maps)) // _COLUMNS)
    columns = -(-(1 + len(maps)) // rows)
    side = 3.2 * max(1, width / height) ** 0.5
    shape = (columns * side, rows * (side * height / width + 0.6))
    figure = Figure(figsize=shape, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    grid[0].imshow(image)
    grid[0].set_title("queries", fontsize=9)
    for index, point in enumerate(points, start=1):
        _mark(grid[0], point, str(index))
    for axes, attention in zip(grid[1:], maps):
        axes.imshow(image)
        values = resize_logits(
            attention.values[..., np.newaxis], (height, width), False
        )
        axes.imshow(values[..., 0], cmap="jet", alpha=0.55)
        low, high = attention.values.min(), attention.values.max()
        scale = f"{low:.2g} to {high:.2g}, mean {attention.values.mean():.2g}"
        title = f"{attention.title}\n{scale}"
        font = font_file(frozenset(title) - {"\n", " "})
        axes.set_title(title, fontsize=9, **({"font": font} if font else {}))
        if attention.point is not None:
            _mark(axes, attention.point, "")
    with new_result(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _mark(axes: Any, point: Point, text: str) -> None:
    """Draws a dot at a point, with a text beside it."""
    axes.plot(*point, "o", color="red", markeredgecolor="white", markersize=7)
    axes.annotate(
        text, point, xytext=(5, 5), textcoords="offset points", color="white",
        bbox={"facecolor": "red", "edgecolor": "none", "pad": 1} if text else None,
    )  # fmt: skip
