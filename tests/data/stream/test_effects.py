"""Changes to a crop, against formulas of numpy, SciPy and OpenCV in float64."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from gcnet_tf.data.stream import effects
from gcnet_tf.data.stream.effects import Effects

RNG = np.random.default_rng(0)
SIZE = (40, 56)
IMAGE = RNG.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
LABEL = RNG.choice([0, 1, 2, 3, 255], SIZE).astype(np.uint8)


def padded(height, width):
    image, label = IMAGE.copy(), LABEL.copy()
    for axis, size in ((0, height), (1, width)):
        rest = [slice(None)] * 2
        rest[axis] = slice(size, None)
        image[tuple(rest)], label[tuple(rest)] = 0, 255
    return image, label, tf.constant([height, width])


def rotated(values, angle, order, outside):
    """Rotates (height, width) counter-clockwise about its centre, with SciPy."""
    height, width = values.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    turn = np.exp(1j * np.radians(angle)) * (right + 1j * down)
    at = [turn.imag + (height - 1) / 2, turn.real + (width - 1) / 2]
    if order == 1:
        # SciPy fades nothing beyond the border; a frame of zeros does.
        framed = np.pad(values.astype(np.float64), 1)
        return ndimage.map_coordinates(framed, [a + 1 for a in at], order=1)
    return ndimage.map_coordinates(
        values, at, order=0, mode="grid-constant", cval=outside
    )


@pytest.mark.parametrize("size", [SIZE, (31, 44)])
@pytest.mark.parametrize("angle", [-140.0, -13.7, 0.0, 8.25, 97.5])
def test_rotation(size, angle):
    image, label, valid_size = padded(*size)
    turned, turned_label = effects.rotate(image, label, valid_size, angle)
    valid = slice(size[0]), slice(size[1])
    for channel in range(3):
        expected = rotated(image[valid][..., channel], angle, 1, 0)
        actual = turned.numpy()[valid][..., channel]
        assert np.abs(actual - expected).max() <= 0.51
    expected = rotated(label[valid], angle, 0, 255)
    # Float32 decides otherwise where a pixel comes from the middle of two.
    assert np.mean(turned_label.numpy()[valid] != expected) < 0.002
    outside = np.ones(SIZE, bool)
    outside[valid] = False
    assert not turned.numpy()[outside].any()
    assert (turned_label.numpy()[outside] == 255).all()
    if angle == 0:
        np.testing.assert_array_equal(turned, image)
        np.testing.assert_array_equal(turned_label, label)


def test_rotation_turns_as_opencv_does():
    image, label, valid_size = padded(*SIZE)
    smooth = cv2.GaussianBlur(image, (0, 0), 3)
    centre = ((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, 30.0, 1.0)
    expected = cv2.warpAffine(smooth, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR)
    turned, _ = effects.rotate(smooth, label, valid_size, 30.0)
    difference = np.abs(turned.numpy().astype(int) - expected)
    assert np.mean(difference <= 2) > 0.97  # OpenCV has 1/32 of a pixel


@pytest.mark.parametrize("size", [SIZE, (31, 44)])
@pytest.mark.parametrize("deviation", [0.0, 0.6, 2.0])
def test_blur(size, deviation):
    image, _, valid_size = padded(*size)
    blurred = effects.blur(image, valid_size, deviation, largest=2.0).numpy()
    values = image[: size[0], : size[1]].astype(np.float64)
    if deviation:
        kernel = np.exp(-0.5 * (np.arange(-6, 7) / deviation) ** 2)
        weight = np.ones_like(values)
        for axis in range(2):
            values = ndimage.convolve1d(values, kernel, axis, mode="constant")
            weight = ndimage.convolve1d(weight, kernel, axis, mode="constant")
        values = values / weight
    assert np.abs(blurred[: size[0], : size[1]] - values).max() <= 0.501
    assert not blurred[size[0] :].any() and not blurred[:, size[1] :].any()


def test_grey_is_opencvs_for_all_colours_of_a_sample():
    colours = RNG.integers(0, 256, (256, 256, 3)).astype(np.uint8)
    expected = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(
        effects.to_grey(colours), expected[..., None].repeat(3, axis=2)
    )


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.25), (0.999, 0.999)])
def test_cut_out(place):
    size = (0.3, 0.5)  # 10 of 34 rows and 28 of 56 columns
    top, left = int(place[0] * 25), int(place[1] * 29)
    image, label = IMAGE.copy(), LABEL.copy()
    image[top : top + 10, left : left + 28] = 0
    label[top : top + 10, left : left + 28] = 255
    arguments = tf.constant([34, 56]), tf.constant(size), tf.constant(place)
    actual = effects.cut_out(IMAGE, LABEL, *arguments)
    for values, expected in zip(actual, (image, label)):
        np.testing.assert_array_equal(values, expected)


ALL = Effects(rotation=30.0, blur=1.0, grey=0.5, cut_out=0.5)


def changed(seed, settings, traced=False):
    function = tf.function(effects.change) if traced else effects.change
    image, label, valid_size = (tf.constant(v) for v in padded(31, 44))
    return function(image, label, valid_size, tf.constant([7, seed]), settings)


def test_a_seed_decides_and_seeds_differ():
    first = [changed(seed, ALL)[0].numpy() for seed in range(3)]
    again = [changed(seed, ALL, traced=True)[0].numpy() for seed in range(3)]
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()


@pytest.mark.parametrize("name", Effects._fields)
def test_each_change_is_its_own(name):
    """One that is off draws nothing from the others."""
    alone = Effects(**{name: getattr(ALL, name)})
    changes = 0
    for seed in range(8):
        image, label = changed(seed, alone)
        changes += bool(np.any(image != padded(31, 44)[0]))
        labels_change = name in ("rotation", "cut_out")
        assert labels_change or np.array_equal(label, padded(31, 44)[1])
    # Blurs of a fraction of a pixel change nothing, and half of the images are grey.
    assert (3 if name in ("blur", "grey") else 7) <= changes
    assert changes <= (6 if name == "grey" else 8)
