"""Labels that are drawn from annotations: polygons, rectangles and run lengths.

A pixel belongs to a polygon as pycocotools decides, which is COCO's own reader: in
effect, if the pixel's centre lies inside. This holds for the polygons of every tool, so
that the same polygon gives the same mask whichever tool exported it; only Supervisely's
corners are pixels, which belong to the shape themselves. Shapes are painted
in the order of the file, and later ones cover earlier ones, as annotation tools show
them. Pixels without a shape keep the id 0, the background.

datumaro reads many formats, but not beside us: 1.13 wants Pillow 12, OpenCV below 5 and
NumPy 2.2. It reads neither labelme's JSON nor Label Studio's or Roboflow's masks.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.runtime.image_files import upright_size

# pycocotools walks along every edge, so that a point far away takes all memory.
_FARTHEST = 10


class Canvas:
    """A label while it is drawn.

    Attributes:
        ids: uint8 (height, width), at first all 0.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.ids = np.zeros(size, np.uint8)

    def polygons(
        self,
        class_id: int,
        polygons: Iterable[Sequence[float]],
        holes: Iterable[Sequence[float]] = (),
    ) -> None:
        """Paints the union of polygons, without the holes.

        Args:
            class_id: the id to paint.
            polygons: each a flat sequence x, y, x, y, ... in pixels, where the first
                pixel reaches from 0 to 1.
            holes: polygons, likewise, that stay as they are.

        Raises:
            UserError: when a coordinate is no finite number or far outside.
        """
        parts = [self._filled(polygon) for polygon in polygons]
        if not any(parts):
            return
        if cut := [part for hole in holes if (part := self._filled(hole))]:
            inside = np.zeros(self.ids.shape, bool)
            for place, mask in filter(None, parts):
                inside[place] |= mask
            for place, mask in cut:
                inside[place] &= ~mask
            self.ids[inside] = class_id
            return
        for place, mask in filter(None, parts):
            self.ids[place][mask] = class_id

    def pixel_polygon(
        self,
        class_id: int,
        polygon: Sequence[Sequence[float]],
        holes: Iterable[Sequence[Sequence[float]]] = (),
    ) -> None:
        """Paints a polygon whose corners x, y are pixels that belong to it.

        The corners of a hole belong to the hole.
        """
        mask = np.zeros(self.ids.shape, np.uint8)
        for colour, outline in ((1, polygon), *((0, hole) for hole in holes)):
            corners = np.array(outline, np.float64)
            if corners.ndim != 2 or not (np.abs(corners) < 2**20).all():
                raise UserError("a polygon must hold pairs of pixels x, y")
            cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], colour)
        self.ids[mask > 0] = class_id

    def mask(
        self, class_id: int, mask: np.ndarray, left: int = 0, top: int = 0
    ) -> None:
        """Paints a mask, bool (height, width), as far as it lies in the image."""
        height, width = self.ids.shape
        rows = slice(max(top, 0), max(min(top + mask.shape[0], height), 0))
        columns = slice(max(left, 0), max(min(left + mask.shape[1], width), 0))
        part = mask[
            rows.start - top : max(rows.stop - top, 0),
            columns.start - left : max(columns.stop - left, 0),
        ]
        if part.size:
            self.ids[rows, columns][part] = class_id

    def run_lengths(self, class_id: int, rle: dict[str, Any]) -> None:
        """Paints a mask in COCO's run lengths, compressed or not.

        Raises:
            UserError: when they are of another size than the image.
        """
        size = tuple(rle["size"])
        if size != self.ids.shape:
            raise UserError(
                f"run lengths of {size[1]}x{size[0]} in an image of "
                f"{self.ids.shape[1]}x{self.ids.shape[0]} (width x height)"
            )
        counts = rle["counts"]
        if isinstance(counts, (str, bytes)):
            counts = _uncompressed(counts)
        counts = np.asarray(counts, np.int64)
        # pycocotools returns bytes of other memory for a sum that is too small.
        if (counts < 0).any() or counts.sum() != self.ids.size:
            raise UserError(
                f"run lengths of {int(counts.sum())} pixels for an image of "
                f"{self.ids.size}"
            )
        self.ids[_pixels(counts, self.ids.shape)] = class_id

    def _filled(
        self, polygon: Sequence[float]
    ) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """Returns the part of the image around a polygon, and its pixels there."""
        # Imported only here, because few data sets need it.
        from pycocotools import mask

        points = np.asarray(polygon, np.float64)
        if points.ndim != 1 or points.size % 2:
            raise UserError("a polygon must hold pairs of numbers x, y")
        if points.size < 6:
            return None  # a point or a line has no area
        points = points.reshape(-1, 2)
        limits = np.array(self.ids.shape[::-1])
        if not (np.abs(points) <= _FARTHEST * limits + 1000).all():
            raise UserError(
                "a polygon has a point that is no number or lies far outside the image"
            )
        low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, limits)
        high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 0, limits)
        width, height = (int(side) for side in high - low)
        if width <= 0 or height <= 0:
            return None
        flat = (points - low).ravel().tolist()
        # Not mask.decode, of whose arrays NumPy 2 warns.
        (rle,) = mask.frPyObjects([flat], height, width)
        pixels = _pixels(_uncompressed(rle["counts"]), (height, width))
        return np.s_[low[1] : high[1], low[0] : high[0]], pixels


def _pixels(counts: Sequence[int] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the mask of run lengths, which go down the columns, bool (height, width).

    The first run is not painted, the second one is, and so on.
    """
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size[::-1]).T


def _uncompressed(text: str | bytes) -> list[int]:
    """Returns the run lengths in COCO's text: 5 bits a character, and differences.

    Raises:
        UserError: when the text ends inside a number or has other characters.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for code in text.encode() if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise UserError("run lengths with a character that COCO's text cannot have")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # a negative number
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise UserError("run lengths that are cut short")
    return counts


@dataclass(frozen=True)
class Drawn:
    """A label that is drawn from annotations.

    Attributes:
        image: the image, which gives the label its size.
        files: the files that hold the annotations; the first one names the label in
            messages.
        paint: paints the shapes.
        size: (height, width) of the image as the annotations state it, if they do.
    """

    image: Path
    files: tuple[Path, ...]
    paint: Callable[[Canvas], None] = field(default=lambda canvas: None, compare=False)
    size: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return self.files[0].name if self.files else self.image.name

    def __str__(self) -> str:
        source = self.files[0] if self.files else "no annotation"
        return f"{source} (for {self.image.name})"

    def ids(self) -> np.ndarray:
        """Draws the label: ids as the export counts them, uint8 (height, width).

        Raises:
            UserError: when the image cannot be read, when it has another size than the
                annotations state, or when they cannot be understood.
        """
        size = upright_size(self.image)
        if self.size not in (None, size):
            raise UserError(
                f"{self} states the size {_size_text(self.size)}, but the upright "
                f"image has {_size_text(size)}. Export again with this image, or put "
                "the image back that was annotated."
            )
        canvas = Canvas(size)
        try:
            self.paint(canvas)
        except MemoryError:
            raise
        # Files of other tools may hold anything in the place of anything.
        except Exception as error:
            raise UserError(
                f"{self} holds a shape that cannot be drawn: {first_line(error)}. "
                "Correct or remove it in the tool, and export again."
            ) from error
        return canvas.ids


def _size_text(size: tuple[int, int] | None) -> str:
    return f"{size[1]}x{size[0]} (width x height)" if size else "no size"
