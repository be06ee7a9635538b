import subprocess
import sys

import numpy as np
import pytest

from gcnet_tf.runtime import windows


# docs/reference.md, section 5.2: (height, width) of the image, scale, expected size.
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
    assert windows.keep_ratio_size(*size, scale) == expected


def test_windows_of_the_published_models():
    spans = list(windows.windows(1025, 2049, (769, 769), (513, 513)))
    assert [(rows.start, columns.start) for rows, columns in spans] == [
        (y, x) for y in (0, 256) for x in (0, 513, 1026, 1280)
    ]
    assert all(
        rows.stop - rows.start == columns.stop - columns.start == 769
        for rows, columns in spans
    )


# docs/reference.md, section 6.5: sizes of the 0.x scales and their number of windows.
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
    assert len(list(windows.windows(*size, (769, 769), (513, 513)))) == count


def test_a_small_image_is_one_small_window():
    assert list(windows.windows(20, 30, (769, 769), (513, 513))) == [
        (slice(0, 20), slice(0, 30))
    ]


def test_a_size_that_has_to_fit_into_another():
    assert windows.keep_ratio_size(480, 640, (2048, 512), (512, 512)) == (384, 512)
    assert windows.keep_ratio_size(480, 640, (64, 48), (512, 512)) == (48, 64)
    for height in range(1, 300, 7):
        actual = windows.keep_ratio_size(height, 211, (2048, 512), (97, 131))
        assert actual[0] == 97 or actual[1] == 131
        assert actual[0] <= 97 and actual[1] <= 131


def test_slide_is_the_mean_over_the_windows_around_a_pixel():
    image = np.zeros((1, 5, 7, 3), np.uint8)
    calls = []

    def predict(window):
        calls.append(window.shape)
        return np.full((*window.shape[:3], 2), len(calls), np.float32)

    logits = windows.slide(predict, image, (4, 4), (3, 3))
    # Windows 1, 2 above and 3, 4 below; rows 1-3 and column 3 overlap.
    assert calls == [(1, 4, 4, 3)] * 4
    expected = [
        [1, 1, 1, 1.5, 2, 2, 2],
        *[[2, 2, 2, 2.5, 3, 3, 3]] * 3,
        [3, 3, 3, 3.5, 4, 4, 4],
    ]
    np.testing.assert_array_equal(logits[0, ..., 0], expected)


def test_slide_of_a_function_of_the_pixel_is_that_function():
    images = np.random.default_rng(0).integers(0, 256, (2, 23, 31, 3), np.uint8)
    logits = windows.slide(lambda x: x.astype(np.float32), images, (9, 7), (4, 5))
    np.testing.assert_allclose(logits, images, rtol=1e-6)


def test_tiles_meet_in_the_middle_of_their_overlap():
    calls = []

    def predict(window):
        calls.append(window.shape)
        return np.full(window.shape[:3], len(calls), np.uint8)

    labels = windows.tiled(predict, np.zeros((1, 4, 10, 3), np.uint8), (8, 6), (4, 3))
    # Columns 0-5, 3-8 and, moved back, 4-9: they meet at 4.5 and 6.5.
    assert calls == [(1, 4, 6, 3)] * 3
    np.testing.assert_array_equal(labels[0], [[1, 1, 1, 1, 2, 2, 3, 3, 3, 3]] * 4)


@pytest.mark.parametrize("size", [(23, 31), (9, 7), (5, 3), (9, 8)])
def test_tiles_cover_every_pixel_once(size):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    actual = windows.tiled(lambda tile: tile[..., 0], images, (9, 7), (4, 5))
    np.testing.assert_array_equal(actual, images[..., 0])


def test_the_runtime_needs_numpy_alone():
    code = (
        "import sys, gcnet_tf.runtime; "
        "print(*[name for name in sys.modules if name.split('.')[0] in "
        "('tensorflow', 'keras', 'cv2', 'PIL')], "
        "*sorted({name.split('.')[1] for name in sys.modules "
        "if name.startswith('gcnet_tf.')}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # The package itself imports `processor`, which needs nothing.
    assert result.stdout.split() == ["errors", "processor", "runtime"]


# docs/reference.md, section 6.5.
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
    assert windows.scales_of(scale, ratios) == expected
