"""TIFFs that are read some rows at a time, so that no whole image is in memory.

tifffile reads them, of the extra `tiff`; without it, images are read as a whole.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError, first_line

_SUFFIXES = (".tif", ".tiff")
# Greatest number of pixels in a tile or strip, which is decoded as a whole.
_MAX_CHUNK = 2**24
_GREY, _RGB, _YCBCR = 1, 2, 6
_JPEG = 7
_PREMULTIPLIED = 1
_ORIENTATION_TAG = 274


class TiffRows:
    """The rows of a TIFF of tiles or strips.

    Attributes:
        size: (height, width) of the image.
    """

    def __init__(self, page: Any) -> None:
        self.size: tuple[int, int] = (page.imagelength, page.imagewidth)
        self._page = page

    def read(self, rows: slice) -> np.ndarray:
        """Reads some rows, RGB uint8 (1, rows, width, 3).

        Raises:
            UserError: when the file is damaged.
        """
        chunk_height, chunk_width = self._page.chunks[:2]
        across = -(-self.size[1] // chunk_width)
        first, last = rows.start // chunk_height, (rows.stop - 1) // chunk_height
        result = np.zeros((1, rows.stop - rows.start, self.size[1], 3), np.uint8)
        for index in range(first * across, (last + 1) * across):
            pixels, top, left = self._chunk(index)
            above = max(rows.start - top, 0)
            place = result[0, max(top - rows.start, 0) :, left:]
            part = pixels[above : above + len(place), : place.shape[1]]
            place[: len(part), : part.shape[1]] = part
        return result

    def picture(self, step: int) -> np.ndarray:
        """Reads every `step`-th row and column, RGB uint8 (height, width, 3)."""
        height, width = self.size
        result = np.empty((-(-height // step), -(-width // step), 3), np.uint8)
        rows_at_once = step * -(-self._page.chunks[0] // step)
        for start in range(0, height, rows_at_once):
            rows = self.read(slice(start, min(start + rows_at_once, height)))
            part = rows[0, ::step, ::step]
            result[start // step : start // step + len(part)] = part
        return result

    def _chunk(self, index: int) -> tuple[np.ndarray, int, int]:
        """Decodes a tile or strip; returns its pixels, first row and first column."""
        page = self._page
        num_bytes = page.databytecounts[index]
        try:
            data = None  # GDAL leaves out tiles that are black
            if num_bytes:
                file = page.parent.filehandle
                file.seek(page.dataoffsets[index])
                data = file.read(num_bytes)
                if len(data) < num_bytes:
                    raise ValueError("it is cut short")
            pixels, place, shape = page.decode(data, index, jpegtables=page.jpegtables)
        except MemoryError:
            raise
        # Each way to compress has errors of its own.
        except Exception as error:
            raise UserError(
                f"it cannot be read as an image: {first_line(error)}. The file may be "
                "damaged or cut short; replace it or move it away."
            ) from error
        if pixels is None:
            pixels = np.zeros(shape, np.uint8)
        # Grey values are repeated; bands behind the three colours are left out.
        return pixels[0, :, :, :3], place[2], place[3]


@contextmanager
def open_rows(path: Path) -> Iterator[TiffRows | None]:
    """Opens a TIFF for reading by rows.

    Yields:
        The rows; or None for other images, and for TIFFs that cannot be read by rows,
        because of their form or because tifffile is not installed.
    """
    try:
        from tifffile import TiffFile
    except ImportError:
        yield None
        return
    if path.suffix.lower() not in _SUFFIXES:
        yield None
        return
    with ExitStack() as stack:
        try:
            page = stack.enter_context(TiffFile(path)).pages.first
            rows = TiffRows(page) if _is_readable(page) else None
        except MemoryError:
            raise
        # The reader of whole images says what is wrong with a damaged file.
        except Exception:
            rows = None
        yield rows


def _is_readable(page: Any) -> bool:
    """Tells whether rows can be read that are those of `read_image`."""
    orientation = page.tags.get(_ORIENTATION_TAG)
    colours, samples = int(page.photometric), page.samplesperpixel
    return (
        page.dtype == np.uint8
        and page.bitspersample == 8
        and page.planarconfig == 1
        and (orientation is None or orientation.value == 1)
        and page.imagedepth == 1
        and page.chunks[0] * page.chunks[1] <= _MAX_CHUNK
        and page.chunks[0] < page.imagelength
        and _PREMULTIPLIED not in map(int, page.extrasamples)
        and (
            (colours == _GREY and samples == 1)
            or (colours == _RGB and samples >= 3)
            or (colours == _YCBCR and samples == 3 and page.compression == _JPEG)
        )
    )
