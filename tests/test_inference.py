import subprocess
import sys

import numpy as np
import pytest

from gcnet_tf import inference


# Spec, section 5.2: (height, width) of the image, scale, (height, width) wanted.
@pytest.mark.parametrize(
    "size, scale, expected",
    [
        ((500, 375), (2048, 512), (683, 512)),
        ((375, 500), (2048, 512), (512, 683)),
        ((480, 640), (2048, 512), (512, 683)),
        ((300, 1000), (2048, 512), (512, 1707)),
        ((300, 2100), (2048, 512), (293, 2048)),
        ((1024, 2048), (2048, 1024), (1024, 2048)),
        ((1024, 2048), (2049, 1025), (1025, 2049)),
        ((1, 5000), (2048, 512), (1, 2048)),
    ],
)
def test_keep_ratio_size(size, scale, expected):
    assert inference.keep_ratio_size(*size, scale) == expected


def test_windows_of_the_published_models():
    places = list(inference.windows(1025, 2049, (769, 769), (513, 513)))
    assert [(rows.start, columns.start) for rows, columns in places] == [
        (y, x) for y in (0, 256) for x in (0, 513, 1026, 1280)
    ]
    assert all(
        rows.stop - rows.start == columns.stop - columns.start == 769
        for rows, columns in places
    )


# Spec, section 6.5: sizes of the 0.x scales and their number of windows.
@pytest.mark.parametrize(
    "size, count",
    [
        ((512, 1024), 2),
        ((768, 1536), 3),
        ((1025, 2049), 8),
        ((1281, 2561), 10),
        ((1537, 3073), 18),
        ((1793, 3585), 21),
    ],
)
def test_number_of_windows(size, count):
    assert len(list(inference.windows(*size, (769, 769), (513, 513)))) == count


def test_a_small_image_is_one_small_window():
    assert list(inference.windows(20, 30, (769, 769), (513, 513))) == [
        (slice(0, 20), slice(0, 30))
    ]


def test_slide_is_the_mean_over_the_windows_that_see_a_pixel():
    image = np.zeros((5, 7, 3), np.uint8)
    calls = []

    def predict(window):
        calls.append(window.shape)
        return np.full((*window.shape[:2], 2), len(calls), np.float32)

    scores = inference.slide(predict, image, (4, 4), (3, 3))
    # Windows 1, 2 above and 3, 4 below; rows 1-3 and column 3 overlap.
    assert calls == [(4, 4, 3)] * 4
    expected = [
        [1, 1, 1, 1.5, 2, 2, 2],
        *[[2, 2, 2, 2.5, 3, 3, 3]] * 3,
        [3, 3, 3, 3.5, 4, 4, 4],
    ]
    np.testing.assert_array_equal(scores[..., 0], expected)


def test_slide_of_a_function_of_the_pixel_is_that_function():
    image = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)
    scores = inference.slide(lambda x: x.astype(np.float32), image, (9, 7), (4, 5))
    np.testing.assert_allclose(scores, image, rtol=1e-6)


@pytest.mark.parametrize("module", ["gcnet_tf.inference", "gcnet_tf.manifest"])
def test_the_modules_shared_with_the_runtime_need_numpy_alone(module):
    code = (
        f"import sys, {module}; "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('tensorflow', 'keras', 'cv2', 'PIL')], "
        "[name for name in sys.modules if name.startswith('gcnet_tf')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"[] ['gcnet_tf', '{module}']"


def test_at_scale_resizes_there_and_back():
    image = np.zeros((20, 30, 3), np.uint8)
    seen = []

    def predict(image):
        seen.append(image.shape[:2])
        return np.full((*image.shape[:2], 2), 7.0)

    def resize(array, size):
        return np.zeros((*size, array.shape[-1])) + array[:1, :1]

    found = inference.at_scale(predict, image, (60, 40), resize, resize)
    assert seen == [(40, 60)] and found.shape == (20, 30, 2) and (found == 7).all()
    # Where nothing changes, nothing is resized.
    inference.at_scale(predict, image, (30, 20), None, None)
    assert seen[-1] == (20, 30)


# Spec, section 6.5.
@pytest.mark.parametrize(
    "scale, expected",
    [
        (
            (2048, 512),
            [
                (1024, 256),
                (1536, 384),
                (2048, 512),
                (2560, 640),
                (3072, 768),
                (3584, 896),
            ],
        ),
        (
            (2049, 1025),
            [(1024, 512), (1536, 768), (2049, 1025)]
            + [(2561, 1281), (3073, 1537), (3585, 1793)],
        ),
    ],
)
def test_scales_of_the_published_protocol(scale, expected):
    ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    assert inference.scales_of(scale, ratios) == expected


def test_multi_scale_flip_is_the_mean_of_probabilities():
    """Not of the scores, which a class with large ones would dominate."""
    image = np.arange(6.0).reshape(1, 6, 1)

    def predict(image):
        return image[..., :1] * np.array([1.0, -1.0])

    def at_scale(predict, scale):
        return predict(image) * scale[0]

    found = inference.multi_scale_flip(at_scale, predict, [(1, 1), (2, 2)])
    # A function of the pixel alone: its mirror image changes nothing.
    expected = (
        inference.softmax(predict(image)) + inference.softmax(2 * predict(image))
    ) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_multi_scale_flip_sees_every_scale_as_it_is_and_mirrored():
    image = np.random.default_rng(0).random((3, 4, 2))
    seen = []

    def predict(image):
        seen.append(image)
        return image

    def at_scale(predict, scale):
        return predict(image * scale[0])

    inference.multi_scale_flip(at_scale, predict, [(1, 1), (3, 3)])
    assert len(seen) == 4
    for found, factor in zip(seen[::2], (1, 3)):
        np.testing.assert_array_equal(found, factor * image)
    for plain, mirrored in zip(seen[::2], seen[1::2]):
        np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_multi_scale_flip_without_scales():
    with pytest.raises(ValueError, match="at least one scale"):
        inference.multi_scale_flip(None, None, [])
