"""Resizing in numpy against OpenCV, TensorFlow and the formula."""

import subprocess
import sys

import cv2
import numpy as np
import oracles
import pytest

from gcnet_tf.layers import resize_bilinear
from gcnet_tf.runtime import resize as module

RNG = np.random.default_rng(0)


def sizes(count):
    """Draws pairs of (height, width); in some, sides are doubled, halved or one."""
    drawn = RNG.integers(1, 90, (count, 4)).tolist()
    special = [[40, 30, 40, 60], [40, 30, 20, 15], [1, 1, 7, 9], [7, 9, 1, 1]]
    return [(tuple(four[:2]), tuple(four[2:])) for four in drawn + special]


def test_images_equal_opencv_to_the_bit():
    for old, new in sizes(150):
        image = RNG.integers(0, 256, (*old, 3), np.uint8)
        expected = cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR)
        actual = module.resize_image_without_opencv(image, new)
        np.testing.assert_array_equal(actual, expected, err_msg=f"{old} to {new}")
        np.testing.assert_array_equal(module.resize_image(image, new), expected)


def test_a_batch_of_images_is_resized_one_by_one():
    images = RNG.integers(0, 256, (3, 20, 30, 3), np.uint8)
    expected = [cv2.resize(image, (41, 17)) for image in images]
    for resize in (
        module.resize_image,
        module.resize_image_without_opencv,
    ):
        np.testing.assert_array_equal(resize(images, (17, 41)), expected)


def test_without_opencv_numpy_resizes(monkeypatch):
    monkeypatch.setattr(module, "_opencv", lambda: None)
    image = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    actual = module.resize_image(image, (33, 44))
    np.testing.assert_array_equal(actual, cv2.resize(image, (44, 33)))


def test_opencv_is_loaded_on_first_use():
    code = (
        "import sys, numpy as np; from gcnet_tf.runtime.resize import resize_image; "
        "print('cv2' in sys.modules); resize_image(np.zeros((2, 2, 3), 'u1'), (3, 3)); "
        "print('cv2' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_follow_the_formula(align_corners):
    for old, new in sizes(40):
        logits = RNG.normal(size=(2, *old, 5))
        expected = oracles.resize_bilinear(logits, new, align_corners)
        actual = module.resize_logits(logits, new, align_corners)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("new", [(65, 97), (9, 13), (4, 5), (1, 1)])
def test_logits_in_float32_are_those_of_the_layer(new, align_corners):
    logits = RNG.normal(size=(2, 9, 13, 150)).astype(np.float32)
    actual = module.resize_logits(logits, new, align_corners)
    expected = resize_bilinear(logits, new, align_corners).numpy()
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6)


def test_logits_in_strips_are_the_same_numbers():
    logits = RNG.normal(size=(2, 19, 13, 4)).astype(np.float32)
    for align_corners in (False, True):
        whole = module.resize_logits(logits, (50, 33), align_corners)
        for rows in (slice(0, 1), slice(7, 31), slice(49, 50)):
            strip = module.resize_logits(logits, (50, 33), align_corners, rows)
            np.testing.assert_array_equal(strip, whole[:, rows])
