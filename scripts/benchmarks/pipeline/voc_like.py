"""Drawn images that cost an input pipeline as much as Pascal VOC's.

The cost depends on the size of a JPEG in pixels and bytes, and on that of its label:
smooth regions, one large background, a void border around every object. Images have
the spectrum of photographs, whose amplitude falls with frequency, and take about 95 kB.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.data.catalog import IGNORE_LABEL

NUM_CLASSES = 21
SIZE = (375, 500)

# Tuned together, so that files have the mean size of VOC's.
_SPECTRUM = 1.2
_JPEG_QUALITY = 90
# Range of the share of an image that its objects cover; the rest is background.
_OBJECT_SHARE = (0.1, 0.5)
_VOID_WIDTH = 5


def write_voc_like(
    root: Path, num_images: int, size: tuple[int, int] = SIZE, seed: int = 0
) -> None:
    """Writes root/train/{images,labels} in the `folder` layout.

    Args:
        root: a new folder.
        num_images: number of images.
        size: (height, width); every fourth image is upright, as in VOC.
        seed: each image and label are a function of the seed and of their index.
    """
    for name in ("images", "labels"):
        (root / "train" / name).mkdir(parents=True)
    images = voc_like(num_images, size, seed)
    bar = tqdm(images, total=num_images, desc="images", disable=None)
    for index, (image, label) in enumerate(bar):
        (root / "train" / "images" / f"{index:05}.jpg").write_bytes(image)
        (root / "train" / "labels" / f"{index:05}.png").write_bytes(label)


def voc_like(
    num_images: int, size: tuple[int, int] = SIZE, seed: int = 0
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the bytes of a JPEG and of its palette PNG; see `write_voc_like`."""
    for index in range(num_images):
        rng = np.random.default_rng([seed, index])
        turned = size[::-1] if index % 4 == 3 else size
        yield _jpeg(_image(rng, turned)), _palette_png(_label(rng, turned))


def _image(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draws a uint8 RGB image (*size, 3), whose three channels are much alike."""
    grey = _noise(rng, size, _SPECTRUM)
    channels = [grey + 0.4 * _noise(rng, size, _SPECTRUM) for _ in range(3)]
    return np.clip(np.stack(channels, axis=-1) * 48 + 118, 0, 255).astype(np.uint8)


def _label(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draws a uint8 label: one to three classes on background, void around them."""
    height = _noise(rng, size, 2.0)
    label = np.zeros(size, np.uint8)
    share = rng.uniform(*_OBJECT_SHARE)
    for _ in range(rng.integers(1, 4)):
        threshold = np.quantile(height, 1 - share)
        label[height > threshold] = rng.integers(1, NUM_CLASSES)
        share /= 2
    block = np.ones((_VOID_WIDTH, _VOID_WIDTH), np.uint8)
    edge = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, block) > 0
    return np.where(edge, np.uint8(IGNORE_LABEL), label)


def _noise(rng: np.random.Generator, size: tuple[int, int], power: float) -> np.ndarray:
    """Draws noise of mean 0 and deviation 1, whose amplitude is frequency**-power."""
    vertical, horizontal = np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1])
    frequency = np.hypot(vertical[:, np.newaxis], horizontal)
    frequency[0, 0] = 1
    real, imaginary = rng.standard_normal((2, *frequency.shape))
    noise = np.fft.irfft2((real + 1j * imaginary) / frequency**power, size)
    return (noise - noise.mean()) / noise.std()


def _jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _palette_png(label: np.ndarray) -> bytes:
    image = Image.frombytes("P", label.shape[::-1], label.tobytes())
    image.putpalette([value for id in range(256) for value in (id, 255 - id, id)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
