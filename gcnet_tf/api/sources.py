"""Images as people have them: paths, arrays, Pillow images, and many of these."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.predictions import find_images, image_hash, name_in
from gcnet_tf.files.address import is_address
from gcnet_tf.files.remote.inputs import local_copy
from gcnet_tf.runtime.image_files import image_pixels
from gcnet_tf.runtime.images import check_images

_ALLOWED = (
    "the path of an image or of a folder, an array (height, width, 3) of RGB uint8, a "
    "Pillow image, or a list or generator of these"
)
# They can be iterated, and hold no images.
_NOT_SEVERAL = (bytes, bytearray, memoryview, Mapping)


class Source(NamedTuple):
    """An image to segment.

    Attributes:
        name: names the files of its result; it may have folders, as in "left/street";
            "" for an image without a name.
        path: its file; None for an array or a Pillow image.
        image: RGB uint8 `(height, width, 3)`; None for a file, which is read later.
    """

    name: str
    path: Path | None = None
    image: np.ndarray | None = None

    def digest(self) -> str:
        """Returns the hex SHA-256 of the file, or of the shape and the pixels.

        Raises:
            UserError: when the file cannot be read.
        """
        if self.path is not None:
            return image_hash(self.path)
        assert self.image is not None
        content = repr(self.image.shape).encode() + self.image.tobytes()
        return hashlib.sha256(content).hexdigest()


class Sources(Iterator[Source]):
    """The images in folders, lists and generators, one after the other.

    After an error about one item, the next call goes on with the item after it.
    """

    def __init__(self, items: Iterator[Any]):
        self._open = [items]
        self._count = 0

    def __next__(self) -> Source:
        while self._open:
            try:
                item = next(self._open[-1])
            except StopIteration:
                self._open.pop()
                continue
            found = item if isinstance(item, Source) else find_sources(item)
            if isinstance(found, Sources):
                self._open += found._open
                continue
            name = found.name or f"image_{self._count:05d}"
            self._count += 1
            return found._replace(name=name)
        raise StopIteration


def find_sources(images: Any) -> Source | Sources:
    """Returns a source for one image, and an iterator for what holds several.

    The images of a folder are listed at once; files are read, and generators asked,
    when their turn comes.

    Raises:
        UserError: when it is no image, or the path leads nowhere.
    """
    if isinstance(images, (str, PathLike)):
        return _of_path(images)
    if isinstance(images, Image.Image):
        name = Path(str(getattr(images, "filename", ""))).stem
        return Source(name, image=image_pixels(images))
    if hasattr(images, "__array__"):
        # A copy, because cameras and loops write the next image into the same array.
        array = np.array(images)
        check_images(array)
        return Source("", image=array) if array.ndim == 3 else Sources(iter(array))
    if isinstance(images, Iterable) and not isinstance(images, _NOT_SEVERAL):
        return Sources(iter(images))
    raise UserError(f"Received {type(images).__name__}; allowed: {_ALLOWED}.")


def _of_path(path: str | PathLike) -> Source | Sources:
    if isinstance(path, str) and is_address(path):
        raise UserError(f"Received the address {path}; download the image first.")
    path = Path(local_copy(os.fsdecode(path), "predict"))
    sources = [
        Source(name_in(path, image).as_posix(), image) for image in find_images(path)
    ]
    return Sources(iter(sources)) if path.is_dir() else sources[0]
