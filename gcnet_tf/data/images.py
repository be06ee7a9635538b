"""Reading images for prediction, upright and in RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from gcnet_tf.data.folders import IMAGE_SUFFIXES
from gcnet_tf.errors import UserError


def list_images(path: Path) -> list[Path]:
    """The image file at `path`, or all image files in that folder, sorted.

    Raises:
        UserError: when there is nothing, or two images would have the same output name.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"No image file or folder at {path}.")
    images = sorted(
        each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES
    )
    if not images:
        raise UserError(
            f"No images in {path}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}."
        )
    seen: dict[str, Path] = {}
    for each in images:
        if each.stem in seen:
            raise UserError(
                f"{seen[each.stem].name} and {each.name} in {path} would both be "
                f"written as {each.stem}.png; rename one of them."
            )
        seen[each.stem] = each
    return images


def read_rgb(path: Path) -> np.ndarray:
    """An image as RGB uint8 `(height, width, 3)`, turned upright by its EXIF tag.

    Raises:
        UserError: when the file is not a readable image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise UserError(f"Cannot read {path} as an image: {error}") from error
