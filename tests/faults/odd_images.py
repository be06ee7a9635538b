"""Unusual and broken image files, which must be read correctly or refused."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

_GREY = np.random.default_rng(0).integers(0, 256, (12, 17), np.uint8)
_RGB = np.random.default_rng(1).integers(0, 256, (12, 17, 3), np.uint8)
_IDS = np.random.default_rng(2).integers(0, 4, (12, 17), np.uint8)
_COLOURS = np.array([[255, 0, 0], [0, 99, 0], [9, 9, 200], [250, 250, 1]], np.uint8)


@dataclass(frozen=True)
class OddImage:
    """A file, and the pixels that must be read from it.

    Attributes:
        name: name of the file, with the ending of its format.
        content: bytes of the file.
        expected: uint8 RGB (height, width, 3), made without the code under test; None
            when the file must be refused.
    """

    name: str
    content: bytes
    expected: np.ndarray | None


def zoo() -> list[OddImage]:
    """Makes all odd images."""
    return [
        *_modes(),
        *_turned(),
        *_moving(),
        *_broken(),
    ]


def _modes() -> list[OddImage]:
    grey_alpha = Image.merge(
        "LA", [Image.fromarray(_GREY), Image.fromarray(255 - _GREY)]
    )
    rgba = Image.fromarray(np.dstack([_RGB, _GREY]))
    palette = Image.fromarray(_IDS, "P")
    palette.putpalette(_COLOURS.tobytes())
    deep = (_GREY.astype(np.uint16) << 8) + 77
    grey = np.dstack([_GREY] * 3)
    cmyk = _saved(Image.fromarray(_RGB).convert("CMYK"), "JPEG")
    return [
        OddImage("cmyk.jpg", cmyk, _multiplied(cmyk)),
        OddImage("grey.jpg", *_saved_and_decoded(Image.fromarray(_GREY), "JPEG")),
        OddImage("grey_16_bit.png", _saved(Image.fromarray(deep), "PNG"), None),
        OddImage("rgb_16_bit.png", _rgb_16_bit_png(), None),
        OddImage("grey_alpha.png", _saved(grey_alpha, "PNG"), grey),
        OddImage("rgb_alpha.png", _saved(rgba, "PNG"), _RGB),
        OddImage("palette.png", _saved(palette, "PNG"), _COLOURS[_IDS]),
        OddImage(
            "palette_alpha.png",
            _saved(palette, "PNG", transparency=bytes([0, 128, 255, 9])),
            _COLOURS[_IDS],
        ),
        OddImage(
            "black_and_white.png",
            _saved(Image.fromarray(_GREY > 99), "PNG"),
            np.where((_GREY > 99)[..., None], 255, 0).repeat(3, 2).astype(np.uint8),
        ),
        OddImage(
            "one_pixel.png", _saved(Image.fromarray(_RGB[:1, :1]), "PNG"), _RGB[:1, :1]
        ),
        OddImage("one_row.png", _saved(Image.fromarray(_RGB[:1]), "PNG"), _RGB[:1]),
        OddImage(
            "float.tif", _saved(Image.fromarray(_GREY / np.float32(9)), "TIFF"), None
        ),
    ]


def _turned() -> list[OddImage]:
    """Makes images with each EXIF orientation; numpy turns the expected pixels."""
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }
    images = []
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        png = _saved(Image.fromarray(_RGB), "PNG", exif=exif)
        images.append(OddImage(f"exif_{orientation}.png", png, turn(_RGB)))
        jpeg = _saved(Image.fromarray(_RGB), "JPEG", exif=exif)
        stored = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        images.append(OddImage(f"exif_{orientation}.jpg", jpeg, turn(stored)))
    return images


def _moving() -> list[OddImage]:
    """Makes animations, of which the first frame must be read."""
    frames = [Image.fromarray(_IDS, "P"), Image.fromarray(3 - _IDS, "P")]
    for frame in frames:
        frame.putpalette(_COLOURS.tobytes())
    options = {"save_all": True, "append_images": frames[1:], "duration": 50}
    gif = _saved(frames[0], "GIF", **options)
    colour = [Image.fromarray(_RGB), Image.fromarray(255 - _RGB)]
    options["append_images"] = colour[1:]
    webp = _saved(colour[0], "WEBP", lossless=True, **options)
    apng = _saved(colour[0], "PNG", **options)
    return [
        OddImage("moving.gif", gif, _COLOURS[_IDS]),
        OddImage("moving.webp", webp, _RGB),
        OddImage("moving.png", apng, _RGB),
    ]


def _broken() -> list[OddImage]:
    jpeg = _saved(Image.fromarray(_RGB), "JPEG")
    png = _saved(Image.fromarray(_RGB), "PNG")
    middle = bytearray(png)
    middle[len(png) // 2] ^= 0xFF
    # This file of a few KB would decode to 10 GB of pixels.
    bomb = _png(100_000, 100_000, 8, 0, zlib.compress(bytes(100_000)))
    text = b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26))
    return [
        OddImage("empty.jpg", b"", None),
        OddImage("empty.png", b"", None),
        OddImage("cut.jpg", jpeg[: len(jpeg) // 2], None),
        OddImage("cut.png", png[: len(png) // 2], None),
        OddImage("header_only.png", png[:33], None),
        OddImage("changed_byte.png", bytes(middle), None),
        OddImage("bomb.png", bomb, None),
        OddImage("text_bomb.png", png[:33] + _chunk(*text) + png[33:], None),
        OddImage("no_size.png", _png(0, 0, 8, 2, zlib.compress(b"")), None),
        OddImage("text.jpg", b"not an image\n", None),
        OddImage("page.png", b"<html>404</html>", None),
    ]


def _saved(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _saved_and_decoded(
    image: Image.Image, file_format: str
) -> tuple[bytes, np.ndarray]:
    """Returns the bytes of a grey image, and its decoded pixels as RGB."""
    content = _saved(image, file_format)
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    return content, np.dstack([pixels] * 3)


def _multiplied(cmyk: bytes) -> np.ndarray:
    """Converts CMYK without a colour profile: each ink takes its share of the light."""
    inks = np.asarray(Image.open(io.BytesIO(cmyk))).astype(np.float64)
    light = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    return np.round(light).astype(np.uint8)


def _rgb_16_bit_png() -> bytes:
    """Returns the bytes of an RGB PNG with 16 bits, which Pillow cannot write."""
    rows = (_RGB.astype(">u2") << 8) + 55
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return _png(_RGB.shape[1], _RGB.shape[0], 16, 2, zlib.compress(lines))


def _png(width: int, height: int, depth: int, kind: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = _chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )
