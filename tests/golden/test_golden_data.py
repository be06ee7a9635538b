"""Resizing, cropping and colour steps against the reference's own pixels."""

import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_image, draw_label
from golden import check_drawn, load

from gcnet_tf.data.stream import augmentation, balance, photometric, resample


@pytest.fixture(scope="module")
def golden():
    return load("transforms")


def positions(size):
    """Returns the positions of all rows or columns."""
    return resample.window_positions(0, size, size)


def resize_label(label, size):
    """Resizes a label as the input stream does."""
    rows, columns = (
        resample.nearest_index(positions(size[axis]), size[axis], label.shape[axis])
        for axis in range(2)
    )
    return label[rows.numpy()][:, columns.numpy()]


def test_sizes(golden):
    for (height, width, *scale), expected in zip(
        golden["sizes/cases"].tolist(), golden["sizes/resized"]
    ):
        size = augmentation.keep_ratio_size(height, width, scale)
        np.testing.assert_array_equal(size, expected)


def test_resize(golden):
    image, label = draw_image(12, 30, 41), draw_label(12, 30, 41, 6)
    check_drawn([image, label], golden["resize/input_checksum"])
    for index, scale in enumerate(golden["resize/scales"].tolist()):
        size = augmentation.keep_ratio_size(30, 41, scale).numpy().tolist()
        resized = augmentation.resize_window(image, size, 0, 0, *size)
        np.testing.assert_array_equal(resized, golden[f"resize/{index}/image"])
        expected = golden[f"resize/{index}/label"]
        np.testing.assert_array_equal(resize_label(label, size), expected)


def photometric_image(golden):
    """Draws the image whose colours are changed."""
    image = draw_image(12, 24, 40)
    check_drawn([image], golden["photometric/input_checksum"])
    return image


def changed_images(golden, step):
    """Yields our image and the expected one for each amount of a colour step."""
    change = getattr(photometric, f"change_{step}")
    for amount, expected in zip(
        golden[f"photometric/{step}/amounts"], golden[f"photometric/{step}/images"]
    ):
        yield change(photometric_image(golden), np.float32(amount)).numpy(), expected


@pytest.mark.parametrize("step", ["brightness", "contrast"])
def test_brightness_and_contrast_are_exact(golden, step):
    for ours, expected in changed_images(golden, step):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("step", ["saturation", "hue"])
def test_colour_steps_are_within_one_level(golden, step):
    """Allows one level: OpenCV truncates groups of pixels, but rounds a row's rest."""
    for ours, expected in changed_images(golden, step):
        assert np.abs(ours.astype(int) - expected).max() <= 1


def test_order_of_the_steps(golden):
    yes = tf.constant(True)
    for amounts, expected in zip(
        golden["photometric/chain/amounts"], golden["photometric/chain/images"]
    ):
        brightness, contrast, saturation, hue, contrast_first = amounts
        distortion = photometric.Distortion(
            *(yes, tf.constant(brightness, tf.float32)),
            *(yes, tf.constant(contrast, tf.float32), tf.constant(contrast_first == 1)),
            *(yes, tf.constant(saturation, tf.float32)),
            *(yes, tf.constant(int(hue))),
        )
        ours = photometric.distort(photometric_image(golden), distortion).numpy()
        difference = np.abs(ours.astype(int) - expected)
        # Each colour step may differ by one level, and the second step and the contrast
        # may widen the difference.
        assert difference.mean() < 1 and (difference <= 1).mean() > 0.9


def crop_sample(golden):
    """Draws an image and a label of which some crops are refused."""
    image, label = draw_image(12, 45, 61), draw_label(12, 45, 61, 3)
    label[:20, :30] = 1
    label[25:, 40:] = 255
    check_drawn([image, label], golden["crop/input_checksum"])
    return image, label


def test_the_same_crops_are_accepted(golden):
    _, label = crop_sample(golden)
    runs = balance.label_runs(label)
    height, width = golden["crop/size"].tolist()
    ratio = float(golden["crop/category_max_ratio"])
    accepted = []
    for corner in golden["crop/corners"].tolist():
        counts = balance.class_counts(runs, (45, 61), corner, (height, width))
        accepted.append(bool(balance.is_balanced(counts, ratio)))
    np.testing.assert_array_equal(accepted, golden["crop/accepted"])
    assert 0 < sum(accepted) < len(accepted)


def test_pixels_of_a_crop(golden):
    """Takes a crop as the pipeline does: a window of the image at its own size."""
    image, label = crop_sample(golden)
    top, bottom, left, right = golden["crop/box"].tolist()
    window = augmentation.resize_window(
        image, (45, 61), top, left, bottom - top, right - left
    )
    np.testing.assert_array_equal(window, golden["crop/image"])
    rows = resample.window_positions(top, bottom - top, bottom - top).numpy()
    columns = resample.window_positions(left, right - left, right - left).numpy()
    np.testing.assert_array_equal(label[rows][:, columns], golden["crop/label"])


def test_flip(golden):
    image, label = crop_sample(golden)
    columns = resample.window_positions(0, 61, 61, reverse=True).numpy()
    np.testing.assert_array_equal(image[:, columns], golden["flip/image"])
    np.testing.assert_array_equal(label[:, columns], golden["flip/label"])
