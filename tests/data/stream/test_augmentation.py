"""Resize, crop, flip and padding, compared with OpenCV and a step-by-step oracle."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.stream import augmentation, balance, photometric, resample

SEED = np.array([7, 3], np.int32)


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def patchy_label(height, width, seed=0):
    """Returns patches of five classes and 255, so that crops differ in their shares."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(
        np.array([0, 0, 0, 0, 1, 2, 3, 4, 255], np.uint8), (height // 8, width // 8)
    )
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def in_dataset(function, *arguments):
    """Returns the result of a function inside tf.data."""
    return next(iter(tf.data.Dataset.from_tensors(arguments).map(function)))


# Results of mmcv's rescale_size, see docs/reference.md, section 5.2: (height, width),
# scale, expected.
KNOWN_SIZES = [
    ((500, 375), (2048, 512), (683, 512)),
    ((480, 640), (2048, 512), (512, 683)),
    ((300, 1000), (2048, 512), (512, 1707)),
    ((300, 2100), (2048, 512), (293, 2048)),
    ((375, 500), (512, 2048), (512, 683)),
    ((1024, 2048), (2049, 1025), (1025, 2049)),
    ((1, 5000), (100, 100), (1, 100)),
]


@pytest.mark.parametrize("size, scale, expected", KNOWN_SIZES)
def test_keep_ratio_size_of_known_cases(size, scale, expected):
    assert tuple(augmentation.keep_ratio_size(*size, scale).numpy()) == expected
    mapped = in_dataset(
        lambda height, width: augmentation.keep_ratio_size(height, width, scale), *size
    )
    assert tuple(mapped.numpy()) == expected


def test_keep_ratio_size_follows_the_formula_in_double():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(20, 3000, (200, 2)).tolist():
        scale = rng.integers(100, 2500, 2).tolist()
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        expected = [max(int(side * factor + 0.5), 1) for side in (height, width)]
        result = augmentation.keep_ratio_size(height, width, scale)
        assert result.numpy().tolist() == expected


def test_random_scale_truncates_one_common_factor_in_range():
    base_scale = (2048, 512)
    seeds = [tf.constant([0, number]) for number in range(200)]
    scales = np.array(
        [augmentation.random_scale(seed, base_scale, (0.5, 2.0)) for seed in seeds]
    )
    ratios = scales[:, 0] / 2048
    assert 0.5 <= ratios.min() < 0.55 and 1.95 < ratios.max() < 2.0
    assert np.abs(ratios.mean() - 1.25) < 5 * 1.5 / np.sqrt(12 * len(seeds))
    # int(2048 r) and int(512 r) of the same r: dividing by 4 truncates again.
    np.testing.assert_array_equal(scales[:, 1], scales[:, 0] // 4)
    mapped = in_dataset(
        lambda seed: augmentation.random_scale(seed, base_scale, (0.5, 2.0)), seeds[5]
    )
    np.testing.assert_array_equal(mapped, scales[5])


def test_random_scale_with_a_single_ratio():
    scale = augmentation.random_scale(SEED, (480, 361), (1.5, 1.5))
    assert scale.numpy().tolist() == [720, 541]


# Source (height, width) and resized (height, width): enlarged, reduced, both at once,
# unchanged, exactly halved and doubled (OpenCV has other code for halving), tiny.
SIZES = [
    ((37, 53), (101, 83)),
    ((75, 100), (102, 137)),
    ((101, 83), (37, 53)),
    ((64, 41), (33, 90)),
    ((47, 31), (47, 31)),
    ((64, 96), (32, 48)),
    ((33, 29), (66, 58)),
    ((1, 1), (5, 7)),
    ((2, 90), (9, 3)),
]


@pytest.mark.parametrize("source, full", SIZES)
def test_resize_window_equals_opencv_bit_by_bit(source, full):
    image = random_image(*source)
    expected = cv2.resize(image, full[::-1], interpolation=cv2.INTER_LINEAR)
    whole = augmentation.resize_window(image, full, 0, 0, *full)
    np.testing.assert_array_equal(whole, expected)

    rng = np.random.default_rng(1)
    for _ in range(3):
        top, left = rng.integers(0, full).tolist()
        height, width = rng.integers(1, np.array(full) - (top, left) + 1).tolist()
        window = in_dataset(
            lambda image: augmentation.resize_window(
                image, full, top, left, height, width
            ),
            image,
        )
        np.testing.assert_array_equal(
            window, expected[top : top + height, left : left + width]
        )


def test_resize_window_is_zero_outside_of_the_image():
    image = random_image(20, 30)
    window = augmentation.resize_window(image, (40, 50), 10, 20, 35, 60).numpy()
    expected = cv2.resize(image, (50, 40))[10:, 20:]
    np.testing.assert_array_equal(window[:30, :30], expected)
    assert not window[30:].any() and not window[:, 30:].any()


@pytest.mark.parametrize("source, full", SIZES)
def test_nearest_index_equals_opencv(source, full):
    label = random_image(*source)[..., 0]
    expected = cv2.resize(label, full[::-1], interpolation=cv2.INTER_NEAREST)
    rows, columns = (
        resample.nearest_index(tf.range(full[axis]), full[axis], source[axis])
        for axis in range(2)
    )
    np.testing.assert_array_equal(label[rows.numpy()][:, columns.numpy()], expected)


def test_window_positions():
    positions = resample.window_positions
    assert positions(3, 4, 6).numpy().tolist() == [3, 4, 5, 6, -1, -1]
    assert positions(3, 4, 6, True).numpy().tolist() == [6, 5, 4, 3, -1, -1]
    assert positions(0, 2, 2, False).numpy().tolist() == [0, 1]
    mapped = in_dataset(lambda start, flip: positions(start, 2, 3, flip), 5, True)
    assert mapped.numpy().tolist() == [6, 5, -1]


def reference_crop(label, full_size, crop_size, ratio, corners):
    """Runs the reference's loop; returns the number of rejections and the corner."""
    resized = cv2.resize(label, full_size[::-1], interpolation=cv2.INTER_NEAREST)
    for check in range(10):
        top, left = corners[check]
        window = resized[top : top + crop_size[0], left : left + crop_size[1]]
        classes, counts = np.unique(window, return_counts=True)
        counts = counts[classes != 255]
        if len(counts) > 1 and np.max(counts) / np.sum(counts) < ratio:
            return check, corners[check]
    return 10, corners[10]


def test_choose_crop_follows_the_reference_loop():
    checks = []
    for number in range(60):
        label = patchy_label(80, 104, seed=number)
        full_size = ((160, 208), (62, 80), (97, 127))[number % 3]
        ratio = (0.75, 0.5, 0.4)[number // 20]
        seed = tf.constant([1, number])
        corners = augmentation.draw_corners(seed, full_size, (48, 40)).numpy()
        check, expected = reference_crop(label, full_size, (48, 40), ratio, corners)
        chosen = augmentation.choose_crop(label, full_size, seed, (48, 40), ratio)
        np.testing.assert_array_equal(chosen, expected)
        checks.append(check)
    # All cases occurred: a window is accepted at once, later, or never.
    assert 0 in checks and 10 in checks and len(set(checks)) > 5


def test_choose_crop_inside_a_dataset():
    label = patchy_label(80, 104)

    def choose(label):
        return augmentation.choose_crop(label, (160, 208), SEED, (48, 40), 0.5)

    np.testing.assert_array_equal(in_dataset(choose, label), choose(label))


@pytest.mark.parametrize(
    "label, accepted",
    [
        # Exactly three quarters are one class, which is refused.
        (np.repeat([0, 0, 0, 1], 25), False),
        # One pixel less is accepted. Pixels of 255 count nowhere.
        (np.r_[np.zeros(74), np.ones(26)], True),
        (np.r_[np.zeros(30), np.ones(9), np.full(61, 255)], False),
        (np.r_[np.zeros(29), np.ones(11), np.full(60, 255)], True),
        (np.zeros(100), False),
        (np.full(100, 255), False),
        (np.r_[np.zeros(50), np.full(50, 255)], False),
    ],
)
def test_limit_of_the_largest_class(label, accepted):
    counts = np.bincount(label.astype(int), minlength=256)
    assert bool(balance.is_balanced(tf.constant(counts), 0.75)) == accepted


def test_corners_cover_all_places_and_only_those():
    seeds = [tf.constant([0, number]) for number in range(60)]
    corners = np.concatenate(
        [augmentation.draw_corners(seed, (12, 9), (8, 10)).numpy() for seed in seeds]
    )
    assert sorted(set(corners[:, 0])) == [0, 1, 2, 3, 4]
    assert set(corners[:, 1]) == {0}
    counts = np.bincount(corners[:, 0])
    expected = len(corners) / 5
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_category_limit_of_one_takes_the_first_box():
    label = np.zeros((80, 104), np.uint8)
    corners = augmentation.draw_corners(SEED, (160, 208), (48, 40))
    chosen = augmentation.choose_crop(label, (160, 208), SEED, (48, 40), 1.0)
    np.testing.assert_array_equal(chosen, corners[0])


SETTINGS = {
    "base_scale": (160, 120),
    "ratio_range": (0.5, 2.0),
    "crop_size": (96, 112),
    "category_max_ratio": 0.75,
    "flip_probability": 0.5,
    "photometric_distortion": True,
}


def reference_augment(image, label, seed, settings):
    """Runs the reference's steps one after another, with the draws of `augment`."""
    seeds = tf.random.experimental.stateless_split(seed, 4)
    scale = augmentation.random_scale(
        seeds[0], settings["base_scale"], settings["ratio_range"]
    )
    size = augmentation.keep_ratio_size(*label.shape, scale).numpy()
    width_height = tuple(size[::-1].tolist())
    image = cv2.resize(image, width_height, interpolation=cv2.INTER_LINEAR)
    resized = cv2.resize(label, width_height, interpolation=cv2.INTER_NEAREST)

    crop_size = settings["crop_size"]
    corners = augmentation.draw_corners(seeds[1], size, crop_size).numpy()
    _, (top, left) = reference_crop(
        label, tuple(size.tolist()), crop_size, settings["category_max_ratio"], corners
    )
    image = image[top : top + crop_size[0], left : left + crop_size[1]]
    label = resized[top : top + crop_size[0], left : left + crop_size[1]]

    flipped = bool(
        tf.random.stateless_uniform((), seeds[2]) < settings["flip_probability"]
    )
    if flipped:
        image, label = image[:, ::-1], label[:, ::-1]
    if settings["photometric_distortion"]:
        distortion = photometric.draw_distortion(seeds[3])
        image = photometric.distort(tf.constant(image), distortion).numpy()

    padding = [(0, full - valid) for full, valid in zip(crop_size, label.shape)]
    padded_label = np.pad(label, padding, constant_values=255)
    return np.pad(image, (*padding, (0, 0))), padded_label, label.shape, flipped


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop_size": (200, 90), "category_max_ratio": 0.4},
        {"photometric_distortion": False, "flip_probability": 0.4},
    ],
)
def test_augment_equals_the_steps_one_after_another(changes):
    settings = {**SETTINGS, **changes}
    image, label = random_image(75, 100), patchy_label(75 // 8 * 8, 100)
    image = image[: label.shape[0]]
    label = cv2.resize(label, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    seeds = tf.stack([tf.zeros(12, tf.int32), tf.range(12)], axis=1)
    dataset = tf.data.Dataset.from_tensor_slices(seeds)
    dataset = dataset.map(
        lambda seed: augmentation.augment(image, label, seed, **settings)
    )
    padded, flips = 0, set()
    for seed, sample in zip(seeds, dataset):
        expected = reference_augment(image, label, seed, settings)
        # Compiled and uncompiled colour steps may truncate a few values differently.
        share_different = np.mean(sample["image"].numpy() != expected[0])
        assert share_different <= (2e-3 if settings["photometric_distortion"] else 0)
        np.testing.assert_array_equal(sample["label"], expected[1])
        assert tuple(sample["valid_size"].numpy()) == expected[2]
        padded += expected[2] != settings["crop_size"]
        flips.add(expected[3])
    assert padded and len(flips) == 2


@pytest.mark.parametrize("size", [(5, 70_000), (10**6, 2)])
def test_augment_of_a_side_that_no_jpeg_has(size):
    settings = {**SETTINGS, "base_scale": (64, 64), "photometric_distortion": False}
    image, seed = random_image(*size), tf.constant([0, 1])
    inputs = (image, image[..., 0] // 32, seed)
    sample = augmentation.augment(*inputs, **settings)
    for key, pixels in zip(("image", "label"), reference_augment(*inputs, settings)):
        np.testing.assert_array_equal(sample[key], pixels)


def test_augment_is_the_same_eagerly_and_inside_a_dataset():
    image, label = random_image(72, 96), patchy_label(72, 96)

    def augment(image, label):
        return augmentation.augment(image, label, SEED, **SETTINGS)

    eager, mapped = augment(image, label), in_dataset(augment, image, label)
    for key in ("image", "label", "valid_size"):
        np.testing.assert_array_equal(eager[key], mapped[key])


def test_static_shapes_inside_a_dataset():
    signature = (
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((None, None), tf.uint8),
    )
    dataset = tf.data.Dataset.from_generator(lambda: [], output_signature=signature)
    spec = dataset.map(
        lambda image, label: augmentation.augment(image, label, SEED, **SETTINGS)
    ).element_spec
    assert spec["image"] == tf.TensorSpec((96, 112, 3), tf.uint8)
    assert spec["label"] == tf.TensorSpec((96, 112), tf.uint8)
    assert spec["valid_size"] == tf.TensorSpec((2,), tf.int32)


def test_flip_probability_bounds():
    image, label = random_image(72, 96), patchy_label(72, 96)
    settings = {**SETTINGS, "photometric_distortion": False}
    never, always = (
        augmentation.augment(
            image, label, SEED, **{**settings, "flip_probability": probability}
        )
        for probability in (0.0, 1.0)
    )
    height, width = never["valid_size"].numpy()
    np.testing.assert_array_equal(
        never["image"][:height, :width], always["image"][:height, :width][:, ::-1]
    )
    np.testing.assert_array_equal(
        never["label"][:height, :width], always["label"][:height, :width][:, ::-1]
    )
