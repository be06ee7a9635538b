"""Colour steps, compared with OpenCV and numpy; draws, with their distributions."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.stream import photometric

NUM_DRAWS = 10_000


def all_colors():
    """Yields all 2^24 colours in 8 images."""
    code = np.arange(2**24, dtype=np.uint32)
    channels = [code >> 16, (code >> 8) & 255, code & 255]
    colors = np.stack(channels, axis=-1).astype(np.uint8)
    yield from colors.reshape(8, 2048, 1024, 3)


def random_image(height=37, width=53):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def run_everywhere(function, *arguments):
    """Runs a function eagerly and inside tf.data; returns the result if they agree."""
    eager = function(*arguments).numpy()
    dataset = tf.data.Dataset.from_tensors(arguments).map(function)
    in_dataset = next(iter(dataset)).numpy()
    np.testing.assert_array_equal(eager, in_dataset)
    return eager


def reference_convert(image, alpha=1.0, beta=0.0):
    """Computes the reference's convert(): float32, clip, truncate."""
    image = image.astype(np.float32) * np.float32(alpha) + np.float32(beta)
    return np.clip(image, 0, 255).astype(np.uint8)


def to_hsv(image):
    channels = tf.unstack(tf.cast(image, tf.float32), axis=-1)
    return photometric.rgb_to_hsv(*channels)


def to_rgb(hue, saturation, value):
    channels = photometric.hsv_to_rgb(hue, saturation, value)
    return tf.cast(tf.stack(channels, axis=-1), tf.uint8)


@tf.function(jit_compile=True)
def compiled_hsv(image):
    return tf.cast(tf.stack(to_hsv(image), axis=-1), tf.uint8)


def test_forward_equals_opencv_for_all_colors():
    for image in all_colors():
        expected = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        np.testing.assert_array_equal(compiled_hsv(image).numpy(), expected)


def test_forward_uncompiled_equals_opencv():
    image = random_image(300, 300)
    hsv = tf.stack(to_hsv(image), axis=-1).numpy()
    np.testing.assert_array_equal(hsv, cv2.cvtColor(image, cv2.COLOR_RGB2HSV))


@pytest.mark.parametrize("compiled", [False, True])
def test_inverse_follows_the_truncating_formula(compiled):
    grid = np.meshgrid(
        np.arange(180), np.arange(0, 256, 3), np.arange(256), indexing="ij"
    )
    hue, saturation, value = (axis.ravel().astype(np.float32) for axis in grid)
    function = tf.function(to_rgb, jit_compile=compiled)
    rgb = function(hue, saturation, value).numpy().astype(int)

    expected = np.trunc(_sector_table(hue, saturation, value)).astype(int)
    difference = np.abs(rgb - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.002


def _sector_table(hue, saturation, value):
    """Converts HSV to RGB by the six sectors of docs/reference.md, section 5.5.

    It uses float32 and OpenCV's reciprocals.
    """
    one = np.float32(1)
    saturation, value = saturation * (one / 255), value * (one / 255)
    sextant = hue * (one / 30)
    sector = np.floor(sextant)
    fraction = sextant - sector
    p = value - value * saturation
    q = value - value * saturation * fraction
    t = value - value * saturation * (one - fraction)
    sectors = [
        (value, t, p),
        (q, value, p),
        (p, value, t),
        (p, q, value),
        (t, p, value),
        (value, p, q),
    ]
    sector = sector.astype(int)
    rgb = [np.choose(sector, channels) for channels in zip(*sectors)]
    return np.stack(rgb, axis=-1) * np.float32(255)


def test_inverse_is_within_one_level_of_opencv():
    hsv = random_image(64, 256)
    hsv[..., 0] %= 180
    rgb = to_rgb(*tf.unstack(tf.cast(hsv, tf.float32), axis=-1))
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    assert np.abs(rgb.numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize("offset", [-32.0, -0.5, 0.0, 0.5, 17.3, 31.99])
def test_brightness_equals_the_reference(offset):
    image = random_image()
    result = run_everywhere(
        photometric.change_brightness, image, tf.constant(offset, tf.float32)
    )
    np.testing.assert_array_equal(result, reference_convert(image, beta=offset))


@pytest.mark.parametrize("factor", [0.5, 0.77, 1.0, 1.31, 1.4999])
def test_contrast_equals_the_reference(factor):
    image = random_image()
    result = run_everywhere(
        photometric.change_contrast, image, tf.constant(factor, tf.float32)
    )
    np.testing.assert_array_equal(result, reference_convert(image, alpha=factor))


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.49])
def test_saturation_follows_opencv(factor):
    image = random_image(64, 256)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = reference_convert(hsv[..., 1], alpha=factor)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(int)
    result = run_everywhere(
        photometric.change_saturation, image, tf.constant(factor, tf.float32)
    )
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("shift", [-18, -1, 0, 17])
def test_hue_follows_opencv(shift):
    image = random_image(64, 256)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + shift) % 180
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(int)
    result = run_everywhere(photometric.change_hue, image, tf.constant(shift))
    assert np.abs(result - expected).max() <= 1


def test_red_and_blue_are_not_mixed_up():
    """Turning pure red by +17 steps (34 degrees) gives orange and not violet."""
    red = np.array([[[255, 0, 0]]], np.uint8)
    result = photometric.change_hue(red, tf.constant(17)).numpy()[0, 0]
    assert result[0] == 255 and 100 < result[1] < 180 and result[2] == 0


def _distortion(**changes):
    off = tf.constant(False)
    neutral = photometric.Distortion(
        change_brightness=off,
        brightness=tf.constant(20.0),
        change_contrast=off,
        contrast=tf.constant(1.4),
        contrast_first=off,
        change_saturation=off,
        saturation=tf.constant(0.6),
        change_hue=off,
        hue_shift=tf.constant(9),
    )
    return neutral._replace(**{name: tf.constant(True) for name in changes})


def test_steps_are_skipped_and_ordered_by_the_coins():
    image = random_image()
    brighter = photometric.change_brightness(image, 20.0)
    stronger = photometric.change_contrast(image, 1.4)
    greyer = photometric.change_saturation(image, 0.6)
    turned = photometric.change_hue(image, 9)
    cases = [
        (_distortion(), image),
        (_distortion(contrast_first=1), image),
        (_distortion(change_brightness=1), brighter),
        (_distortion(change_contrast=1), stronger),
        (_distortion(change_contrast=1, contrast_first=1), stronger),
        (_distortion(change_saturation=1), greyer),
        (_distortion(change_hue=1), turned),
        (
            _distortion(change_brightness=1, change_contrast=1, contrast_first=1),
            photometric.change_contrast(brighter, 1.4),
        ),
        (
            _distortion(change_hue=1, change_contrast=1, contrast_first=1),
            photometric.change_hue(stronger, 9),
        ),
        (
            _distortion(change_hue=1, change_contrast=1),
            photometric.change_contrast(turned, 1.4),
        ),
        (
            _distortion(change_hue=1, change_saturation=1),
            photometric.change_hue(greyer, 9),
        ),
    ]
    distort = tf.function(photometric.distort)
    for distortion, expected in cases:
        np.testing.assert_array_equal(distort(image, distortion), expected)


@pytest.fixture(scope="module")
def draws():
    seeds = tf.stack([tf.zeros(NUM_DRAWS, tf.int32), tf.range(NUM_DRAWS)], axis=1)
    dataset = tf.data.Dataset.from_tensor_slices(seeds)
    dataset = dataset.map(photometric.draw_distortion).batch(NUM_DRAWS)
    return photometric.Distortion(*(field.numpy() for field in next(iter(dataset))))


COINS = (
    "change_brightness",
    "change_contrast",
    "contrast_first",
    "change_saturation",
    "change_hue",
)


def test_coins_are_fair_and_independent(draws):
    coins = np.stack([getattr(draws, name) for name in COINS]) * 2.0 - 1.0
    # The mean of n fair signs, and of their products, has a deviation of 1 / sqrt(n).
    bound = 5 / np.sqrt(NUM_DRAWS)
    assert np.abs(coins.mean(axis=1)).max() < bound
    products = coins @ coins.T / NUM_DRAWS
    assert np.abs(products - np.eye(len(COINS))).max() < bound


@pytest.mark.parametrize(
    "name, low, high",
    [
        ("brightness", -32.0, 32.0),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
    ],
)
def test_amounts_are_uniform(draws, name, low, high):
    amounts = getattr(draws, name)
    assert amounts.min() >= low and amounts.max() < high
    num_bins = 10
    counts, _ = np.histogram(amounts, bins=num_bins, range=(low, high))
    expected = NUM_DRAWS / num_bins
    deviation = np.sqrt(expected * (1 - 1 / num_bins))
    assert np.abs(counts - expected).max() < 5 * deviation


def test_hue_shift_takes_each_of_36_values_equally_often(draws):
    values, counts = np.unique(draws.hue_shift, return_counts=True)
    assert values.tolist() == list(range(-18, 18))
    expected = NUM_DRAWS / 36
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_batch_on_the_device_equals_image_by_image():
    """The images have padding and different draws."""
    seeds = tf.stack([tf.zeros(24, tf.int32), tf.range(24)], axis=1)
    distortions = [photometric.draw_distortion(seed) for seed in seeds]
    batched = photometric.Distortion(*(tf.stack(field) for field in zip(*distortions)))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 40, 48, 3), np.uint8)
    sizes = np.stack([rng.integers(20, 41, 24), rng.integers(20, 49, 24)], axis=1)
    results = tf.function(photometric.distort_batch)(images, batched, sizes).numpy()
    for image, distortion, (height, width), result in zip(
        images, distortions, sizes, results
    ):
        expected = np.zeros_like(image)
        expected[:height, :width] = photometric.distort(image, distortion).numpy()[
            :height, :width
        ]
        np.testing.assert_array_equal(result, expected)
