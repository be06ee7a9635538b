"""Photos of all kinds that people give a page: drawn, the same on each machine."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFilter

_ORIENTATION = 0x0112


def write_photos(folder: Path) -> list[Path]:
    """Writes 22 image files of different kinds, and returns their paths."""
    folder.mkdir()
    wide, tall = scene(480, 640, 0), scene(640, 480, 1)
    photos = {
        "landscape.jpg": (wide, {"quality": 90}),
        "portrait.jpg": (tall, {"quality": 90}),
        "progressive.jpg": (tall, {"quality": 75, "progressive": True}),
        "full_colour.jpg": (wide, {"quality": 95, "subsampling": 0}),
        "grey.jpg": (wide.convert("L"), {}),
        "grey.png": (tall.convert("L"), {}),
        "black_and_white.png": (wide.convert("1"), {}),
        "palette.png": (wide.quantize(64), {}),
        "palette_alpha.png": (wide.quantize(64), {"transparency": 3}),
        "alpha.png": (with_alpha(wide), {}),
        "grey_alpha.png": (with_alpha(tall).convert("LA"), {}),
        "profile.png": (wide, {"icc_profile": profile()}),
        "lossless.webp": (wide, {"lossless": True}),
        "large.jpg": (scene(3000, 4000, 2), {"quality": 90}),
        "small.png": (scene(20, 30, 3), {}),
    }
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        photos[f"turned_{orientation}.jpg"] = (wide, {"exif": exif, "quality": 90})
    for name, (image, options) in photos.items():
        image.save(folder / name, **options)
    return [folder / name for name in photos]


def scene(height: int, width: int, seed: int) -> Image.Image:
    """Draws smooth surfaces with hard edges between them, and the noise of a sensor."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
    picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
    regions = Image.fromarray(generator.integers(0, 256, (5, 7), np.uint8))
    regions = regions.resize((width, height), Image.Resampling.BICUBIC)
    other = picture.transpose(Image.Transpose.ROTATE_180)
    picture.paste(other, mask=regions.point(lambda value: 255 * (value > 127)))
    pixels = np.asarray(picture.filter(ImageFilter.SMOOTH), np.float32)
    noise = generator.normal(0, 3, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def with_alpha(image: Image.Image) -> Image.Image:
    """Adds alpha from 0 to 255: the colours under it stay, and count."""
    alpha = Image.linear_gradient("L").resize(image.size)
    image = image.copy()
    image.putalpha(alpha)
    return image


def profile() -> bytes:
    """Makes a profile in which red and blue have changed their places."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = content.replace(b"rXYZ", b"----", 1).replace(b"bXYZ", b"rXYZ", 1)
    return content.replace(b"----", b"bXYZ", 1)
