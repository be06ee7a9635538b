import numpy as np
import oracles
import pytest

from gcnet_tf.layers import resize_bilinear

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(65, 97), (9, 13), (4, 5), (1, 1)])
def test_equals_the_formula(size, align_corners):
    x = RNG.normal(size=(2, 9, 13, 3)).astype(np.float32)
    expected = oracles.resize_bilinear(x, size, align_corners)
    actual = resize_bilinear(x, size, align_corners)
    np.testing.assert_allclose(actual, expected, atol=3e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(65, 97), (9, 13), (4, 5), (1, 1)])
def test_float64_stays_float64(size, align_corners):
    x = RNG.normal(size=(2, 9, 13, 3))
    actual = resize_bilinear(x, size, align_corners).numpy()
    assert actual.dtype == np.float64
    expected = oracles.resize_bilinear(x, size, align_corners)
    np.testing.assert_allclose(actual, expected, atol=1e-14)


def test_aligned_corners_keep_the_corner_values():
    x = RNG.normal(size=(1, 3, 3, 1)).astype(np.float32)
    aligned = resize_bilinear(x, (17, 17), True).numpy()
    np.testing.assert_allclose(aligned[0, ::8, ::8], x[0], atol=1e-6)
    plain = resize_bilinear(x, (17, 17), False)
    assert not np.allclose(plain, aligned, atol=0.01)
