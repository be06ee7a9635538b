"""10,000 draws of scale, crop and flip against docs/reference.md, sections 5.2 to 5.4.

The seeds are fixed, so that the counts are always the same. The limits are five
standard deviations of the right distribution. test_photometric.py tests the colours.
"""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.stream import augmentation

NUM_DRAWS = 10_000
BASE_SCALE, RATIO_RANGE = (2048, 512), (0.5, 2.0)
SIZE = (375, 500)
CROP_SIZE = (512, 512)


def draw(function):
    """Returns the stacked results of a function of a seed, for 10,000 seeds."""
    seeds = tf.stack([tf.zeros(NUM_DRAWS, tf.int32), tf.range(NUM_DRAWS)], axis=1)
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(function)
    return next(iter(dataset.batch(NUM_DRAWS).as_numpy_iterator()))


def assert_share(count, probability):
    """Asserts that `count` of the draws fits an event of this probability."""
    deviation = np.sqrt(NUM_DRAWS * probability * (1 - probability))
    assert abs(count - NUM_DRAWS * probability) < 5 * deviation


def assert_uniform(values, low, high, num_bins=20):
    assert low <= values.min() and values.max() < high
    for count in np.histogram(values, num_bins, (low, high))[0]:
        assert_share(count, 1 / num_bins)


@pytest.fixture(scope="module")
def plans():
    """Sizes, corners and flips that `augment` draws when it accepts any window."""

    def draw_plan(seed):
        plan = augmentation.make_plan(
            tf.zeros(SIZE, tf.uint8),
            seed,
            base_scale=BASE_SCALE,
            ratio_range=RATIO_RANGE,
            crop_size=CROP_SIZE,
            category_max_ratio=1.0,
            flip_probability=0.5,
        )
        return plan.full_size, plan.corner, plan.flip

    return draw(draw_plan)


def test_the_scale_is_uniform():
    scales = draw(lambda seed: augmentation.random_scale(seed, BASE_SCALE, RATIO_RANGE))
    # int(2048 r) takes each whole number from 1024 to 4095 equally often.
    assert_uniform(scales[:, 0], 1024, 4096)
    # Both bounds come from one r.
    np.testing.assert_array_equal(scales[:, 1], scales[:, 0] // 4)


def test_the_short_side_follows_the_scale(plans):
    """The short side limits an image of VOC's size: it becomes 512 r, truncated."""
    full_size = plans[0]
    assert_uniform(full_size[:, 0], 256, 1024)
    assert np.abs(full_size[:, 1] - full_size[:, 0] * 500 / 375).max() < 1


def test_corners_are_uniform_in_the_room_that_is_left(plans):
    full_size, corners, _ = plans
    room = full_size - CROP_SIZE
    for axis in range(2):
        assert not corners[room[:, axis] <= 0, axis].any()
        wide = room[:, axis] > 100
        places = (corners[wide, axis] + 0.5) / (room[wide, axis] + 1)
        assert places.min() > 0 and places.max() < 1
        counts = np.histogram(places, 10, (0, 1))[0]
        expected = wide.sum() / 10
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_top_and_left_are_independent(plans):
    full_size, corners, _ = plans
    room = full_size - CROP_SIZE
    wide = (room > 100).all(axis=1)
    places = (corners[wide] + 0.5) / (room[wide] + 1)
    correlation = np.corrcoef(places.T)[0, 1]
    assert abs(correlation) < 5 / np.sqrt(wide.sum())


def test_half_of_the_images_are_flipped(plans):
    full_size, _, flips = plans
    assert_share(flips.sum(), 0.5)
    # Also half of the small images.
    small = full_size[:, 0] < np.median(full_size[:, 0])
    assert_share((flips & small).sum(), small.mean() / 2)


def accepted_corners(resized, crop_size, ratio):
    """Tells for every corner whether its window is accepted; bool (rows, columns)."""
    rows, columns = np.subtract(resized.shape, crop_size) + 1
    accepted = np.zeros((rows, columns), bool)
    for top, left in np.ndindex(rows, columns):
        window = resized[top : top + crop_size[0], left : left + crop_size[1]]
        counts = np.bincount(window.ravel(), minlength=256)[:255]
        has_several = np.count_nonzero(counts) > 1
        accepted[top, left] = has_several and counts.max() / counts.sum() < ratio
    return accepted


def test_crops_are_accepted_as_often_as_eleven_tries_allow():
    label = np.zeros((30, 40), np.uint8)
    label[:11, :12] = 1
    label[20:, 28:] = 2
    label[:3] = 255
    full_size, crop_size, ratio = (45, 60), (20, 24), 0.75
    resized = cv2.resize(label, full_size[::-1], interpolation=cv2.INTER_NEAREST)
    accepted = accepted_corners(resized, crop_size, ratio)
    chance = accepted.mean()
    assert 0.02 < chance < 0.2  # so that all ten checks fail often

    corners = draw(
        lambda seed: augmentation.choose_crop(label, full_size, seed, crop_size, ratio)
    )
    hits = accepted[corners[:, 0], corners[:, 1]]
    # Ten windows are checked, and the eleventh is taken unchecked.
    assert_share(hits.sum(), 1 - (1 - chance) ** 11)
    # Among the accepted windows, and among the others, none is preferred.
    for chosen, allowed in ((hits, accepted), (~hits, ~accepted)):
        upper = corners[chosen, 0] < 13
        expected = allowed[:13].sum() / allowed.sum()
        deviation = np.sqrt(chosen.sum() * expected * (1 - expected))
        assert abs(upper.sum() - chosen.sum() * expected) < 5 * deviation
