"""Every odd image in conversion and in prediction."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers import save_image
from odd_images import zoo

from gcnet_tf.data.records.samples import encode_image
from gcnet_tf.data.records.shards import decode_sample
from gcnet_tf.errors import UserError
from gcnet_tf.runtime.image_files import read_image


@pytest.fixture(params=zoo(), ids=lambda odd: odd.name)
def odd(request, tmp_path):
    """File of an odd image, and the expected pixels."""
    path = tmp_path / request.param.name
    path.write_bytes(request.param.content)
    return path, request.param.expected


def decoded(stored, tmp_path):
    """Decodes a stored image as training does."""
    label = save_image(tmp_path / "label.png", np.zeros((1, 1), np.uint8)).read_bytes()
    example = {"image": stored.file_bytes, "label": label, "name": "a"}
    example["orientation"] = np.int64(stored.orientation)
    return decode_sample({k: tf.constant(v) for k, v in example.items()})["image"]


def test_odd_images_are_read_correctly_or_refused(odd, tmp_path):
    path, expected = odd
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if expected is None:
            for read in (read_image, encode_image):
                with pytest.raises(UserError, match=path.name) as error:
                    read(path)
                assert "\n" not in str(error.value) and len(str(error.value)) < 400
            return
        stored = encode_image(path)
        for image in (read_image(path), decoded(stored, tmp_path)):
            assert stored.size == expected.shape[:2]
            # Multiplied inks may be rounded otherwise; all else is exact.
            tolerance = 1 if path.name == "cmyk.jpg" else 0
            np.testing.assert_allclose(np.int32(image), expected, atol=tolerance)
