"""Image files of more than 8 bits per channel, in conversion and in prediction."""

import zlib

import cv2
import numpy as np
import pytest
from helpers import random_image
from PIL import Image

from gcnet_tf.data.records.samples import encode_image
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.image_files import read_image


def deep_images(folder):
    """Writes images with more than 8 bits per channel; yields each with its bits."""
    folder.mkdir()
    grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    colour = np.dstack([grey, grey, grey])
    # 12 bits in 16, as a sensor writes them; Pillow cannot write 16-bit colour.
    for ending in ("png", "tif", "ppm", "jp2"):
        cv2.imwrite(str(folder / f"colour.{ending}"), colour)
        yield folder / f"colour.{ending}", 16
    (folder / "alpha.png").write_bytes(
        cv2.imencode(".png", np.dstack([colour, grey]))[1].tobytes()
    )
    yield folder / "alpha.png", 16
    for ending in ("png", "tif", "jp2"):
        Image.fromarray(grey).save(folder / f"grey.{ending}")
        yield folder / f"grey.{ending}", 16
    for header, size in ((b"P6 # colour\n2 1\n4095\n", 12), (b"P5 2 1 4095\n", 4)):
        (folder / f"bits_{size}.ppm").write_bytes(header + bytes(size))
        yield folder / f"bits_{size}.ppm", 12
    Image.frombytes("RGB", (2, 1), bytes(6)).save(folder / "a.sgi", bpc=2)
    yield folder / "a.sgi", 16
    Image.new("F", (4, 3)).save(folder / "float.tif")
    yield folder / "float.tif", 32
    Image.new("I", (4, 3)).save(folder / "integers.tif")
    yield folder / "integers.tif", 32


def test_more_than_8_bits_per_channel_are_refused(tmp_path):
    for path, bits in deep_images(tmp_path / "deep"):
        for read in (encode_image, read_image):
            with pytest.raises(UserError) as error:
                read(path)
            assert f"{path.name} has {bits} bits per channel" in str(error.value)


@pytest.mark.parametrize("kind, bits", [(np.float32, 32), (np.uint16, 16)])
def test_a_tiff_of_many_deep_bands_is_not_called_damaged(kind, bits, tmp_path):
    """Five bands, as infrared cameras write them; Pillow does not know them."""
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "bands.tif"
    pixels = np.zeros((8, 9, 5), kind)
    tifffile.imwrite(path, pixels, photometric="rgb", planarconfig="contig")
    content = path.read_bytes()
    with pytest.raises(UserError) as error:
        read_image(path)
    assert f"5 bands of {bits} bits" in str(error.value)
    assert "damaged" not in str(error.value)
    path.write_bytes(content[:60])
    with pytest.raises(UserError, match="damaged or cut short"):
        read_image(path)


def test_the_command_in_the_refusal_makes_an_image_that_is_taken(tmp_path):
    path = tmp_path / "deep.tif"
    values = np.array([[[0, 1000, 4095], [2048, 4000, 5000]]], np.uint16)
    cv2.imwrite(str(path), values[..., ::-1])
    with pytest.raises(UserError) as error:
        read_image(path)
    code = str(error.value).split('"')[1].replace("WHITE", "4095")
    out = tmp_path / "out.png"
    exec(code.replace("IN", str(path)).replace("OUT.png", str(out)), {})
    expected = np.minimum(values / 4095, 1) * 255
    np.testing.assert_allclose(read_image(out), expected, atol=0.51)


@pytest.mark.parametrize("mode, bits", [("L", 8), ("P", 4), ("RGB", 8), ("1", 1)])
def test_a_png_that_claims_more_pixels_than_it_holds(mode, bits, tmp_path):
    """Pillow reads it as black, and takes the memory of all that it claims."""
    path = tmp_path / "a.png"
    Image.new(mode, (8, 8)).save(path, bits=bits)
    whole = path.read_bytes()
    claimed = whole[12:16] + (9000).to_bytes(4, "big") * 2 + whole[24:29]
    checksum = zlib.crc32(claimed).to_bytes(4, "big")
    path.write_bytes(whole[:12] + claimed + checksum + whole[33:])
    with pytest.raises(UserError, match="bytes cannot hold 9000x9000 pixels"):
        read_image(path)


def test_the_best_compressed_png_is_read(tmp_path):
    Image.new("1", (4000, 4000)).save(tmp_path / "a.png", compress_level=9)
    assert (tmp_path / "a.png").stat().st_size < 4000
    assert read_image(tmp_path / "a.png").shape == (4000, 4000, 3)


def test_files_of_8_bits_are_no_deeper(tmp_path):
    image = Image.fromarray(random_image(0))
    for ending in ("png", "tif", "ppm", "jp2", "sgi", "bmp", "gif", "webp"):
        image.save(tmp_path / f"a.{ending}")
        assert read_image(tmp_path / f"a.{ending}").shape == (24, 32, 3)
