"""Images as the runtime takes them: RGB uint8, checked, padded to a network's size."""

import numpy as np

from gcnet_tf.errors import UserError


def padded(
    images: np.ndarray, size: tuple[int, int], colour: tuple[int, int, int]
) -> np.ndarray:
    """Pads images at the right and at the bottom.

    Args:
        images: RGB uint8 `(batch, height, width, 3)`.
        size: (height, width) of the result, at least that of the images.
        colour: RGB in 0-255, of the padding.

    Returns:
        RGB uint8 `(batch, *size, 3)`.
    """
    canvas = np.empty((len(images), *size, 3), np.uint8)
    canvas[:] = colour
    canvas[:, : images.shape[1], : images.shape[2]] = images
    return canvas


def check_images(images: np.ndarray) -> None:
    """Checks that an array is one RGB image, or several of the same size.

    Raises:
        UserError: when it is anything else; the message says what it is.
    """
    allowed = (
        "allowed: RGB uint8, 0-255, of shape (height, width, 3) or "
        "(batch, height, width, 3)."
    )
    if not isinstance(images, np.ndarray):
        raise UserError(
            f"Not an image: received {type(images).__name__}; {allowed} "
            "Use numpy.asarray(image.convert('RGB')) for a Pillow image."
        )
    received = f"received {images.dtype} of shape {images.shape}; {allowed}"
    if images.dtype != np.uint8:
        raise UserError(f"Not an 8-bit image: {received} Scale and convert it first.")
    if images.ndim not in (3, 4):
        hint = " Repeat a grey image three times." if images.ndim == 2 else ""
        raise UserError(f"Not a colour image: {received}{hint}")
    if images.shape[-1] != 3:
        hint = " Leave out the alpha channel." if images.shape[-1] == 4 else ""
        raise UserError(f"Not an RGB image: {received}{hint}")
    if images.size == 0:
        raise UserError(f"An image without pixels: {received}")
