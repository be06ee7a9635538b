"""Images beyond Pillow's limit, which is meant for pictures that strangers upload."""

import warnings

import pytest
import tensorflow as tf
from PIL import Image

from gcnet_tf.data.records.samples import encode_image
from gcnet_tf.errors import UserError
from gcnet_tf.runtime import image_files


@pytest.fixture
def image(tmp_path):
    """An image of four times Pillow's limit; that makes an error of the warning."""
    path = tmp_path / "ortho.png"
    Image.new("RGB", (64, 48), (9, 99, 199)).save(path)
    return path


def test_pillows_limit_does_not_count_and_stays(image, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 4)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = image_files.read_image(image)
        assert image_files.image_size(image) == (48, 64)
    assert pixels.shape == (48, 64, 3) and pixels[0, 0].tolist() == [9, 99, 199]
    assert Image.MAX_IMAGE_PIXELS == 64 * 48 // 4


@pytest.mark.parametrize("read", [image_files.read_image, image_files.image_size])
def test_our_own_limit_is_a_sentence(read, image, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match="has 64x48 pixels .* allowed: 3,071") as error:
        read(image)
    assert "damaged" not in str(error.value) and "Cut it" in str(error.value)


def test_the_longest_side_is_one_that_all_readers_of_png_read(tmp_path):
    """Beyond it, OpenCV wrote no label, and TensorFlow read no record."""
    longest = image_files.MAX_SIDE
    path = tmp_path / "strip.png"
    Image.new("L", (longest, 1)).save(path)
    assert image_files.image_size(path) == (1, longest)
    assert tf.io.decode_png(path.read_bytes()).shape == (1, longest, 1)
    Image.new("L", (longest + 1, 1)).save(path)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_png(path.read_bytes())
    for read in (encode_image, image_files.image_size):
        with pytest.raises(UserError, match="1000001x1 .* and 1,000,000 a side"):
            read(path)
