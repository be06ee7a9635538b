import keras
import numpy as np
import pytest

from gcnet_tf.fuse import fold, inference_function
from gcnet_tf.models import Segmentor

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 33, 41, 3), np.uint8)


def trained(depth=18, dtype="float32"):
    """A model whose weights and statistics are far from their initial values."""
    keras.utils.set_random_seed(0)
    model = Segmentor(
        4,
        backbone={"depth": depth, "base_channels": 4},
        head={"channels": 8, "fusions": ("channel_mul", "channel_add")},
        auxiliary={"channels": 8},
        align_corners=True,
        dtype=dtype,
        name="gcnet",
    )
    model.build((None, None, None, 3))
    for weight in model.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
        elif not weight.path.endswith("kernel"):
            weight.assign(RNG.normal(0, 0.2, weight.shape))
    return model


@pytest.mark.parametrize("depth", [18, 50])
def test_folding_and_freezing_keep_the_logits(depth):
    model = trained(depth)
    expected = model(IMAGES)["logits"].numpy()
    tolerance = 1e-5 * np.abs(expected).max()
    folded = fold(model)
    np.testing.assert_allclose(folded(IMAGES)["logits"], expected, atol=tolerance)
    frozen = inference_function(model)
    np.testing.assert_allclose(frozen(IMAGES), expected, atol=tolerance)


def test_nothing_is_left_to_normalise_and_no_auxiliary_head():
    paths = [weight.path for weight in fold(trained()).weights]
    assert not any("norm/moving" in path or "auxiliary" in path for path in paths)


def test_a_frozen_function_keeps_its_weights():
    model = trained()
    frozen = inference_function(model)
    before = frozen(IMAGES).numpy()
    for weight in model.trainable_weights:
        weight.assign(weight + 1.0)
    np.testing.assert_array_equal(frozen(IMAGES), before)


def test_a_mixed_precision_model_is_folded_in_float32():
    folded = fold(trained(dtype="mixed_bfloat16"))
    assert folded.compute_dtype == "float32"
    exact = trained()(IMAGES)["logits"].numpy()
    assert exact.shape == folded(IMAGES)["logits"].shape
