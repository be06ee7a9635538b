"""The folded model beside the trained one, and how far two may be apart."""

import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import draw_weights

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.agreement import (
    EXACT,
    check_fold,
    exact_products,
    log_probability_difference,
)
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.models import Segmentor, build_model, inference_graph
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.models.trained import trained_function

pytestmark = pytest.mark.usefixtures("shallow")

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (70, 5, 4)).astype(np.float32)


def drawn_model(config):
    keras.utils.set_random_seed(0)
    model = build_model(config)
    draw_weights(model, np.random.default_rng(0))
    return model


def test_logits_may_differ_by_a_constant_per_pixel():
    shifted = LOGITS + RNG.normal(0, 5, (70, 5, 1)).astype(np.float32)
    assert log_probability_difference(shifted, LOGITS) < 1e-6


def test_the_difference_is_a_share_of_the_largest_logarithm():
    expected = np.zeros((1, 1, 2))
    actual = np.log([[[0.5 * 1.01, 0.5 * 0.99]]])
    apart = log_probability_difference(actual, expected)
    assert apart == pytest.approx(-np.log(0.99))  # log 0.5 is less than 1
    far = np.array([[[0.0, -50.0]]])
    apart = log_probability_difference(np.array([[[0.0, -49.0]]]), far)
    assert apart == pytest.approx(1 / 50)


def test_probabilities_are_compared_where_float32_holds_them():
    """A file of probabilities has zeros for logits far below the largest one."""
    logits = np.array([[[0.0, -80.0, -95.0, -300.0]]], np.float32)
    probabilities = tf.nn.softmax(logits).numpy()
    assert probabilities[0, 0, 3] == 0
    as_read = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    assert log_probability_difference(as_read, logits) < EXACT / 10
    wrong = np.array([[[0.0, -87.0, -95.0, -300.0]]], np.float32)
    assert log_probability_difference(wrong, logits) == pytest.approx(7 / 300)


def test_what_is_not_a_number_is_infinitely_far():
    assert log_probability_difference(np.full_like(LOGITS, np.nan), LOGITS) == np.inf


@pytest.mark.parametrize(
    "settings",
    [
        ("model.winograd=true", "model.head.channels=256"),
        ("train.precision=mixed_bfloat16",),
    ],
)
def test_the_oracle_is_direct_and_exact(settings, tiny_config):
    """It is that of the same weights trained without Winograd, in float32."""
    model = drawn_model(tiny_config(*settings))
    plain = drawn_model(tiny_config("model.winograd=false", *settings[1:2]))
    images = RNG.integers(0, 256, (2, 33, 40, 3), np.uint8)
    expected = plain(images, training=False)["logits"].numpy()
    np.testing.assert_allclose(trained_function(model)(images), expected, atol=1e-6)
    assert expected.dtype == np.float32 and np.ptp(expected) > 0.1


def test_the_oracle_of_float64_is_in_float32(tiny_config):
    """Also of variables of a training, which convert themselves to no other type."""
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = drawn_model(tiny_config("train.precision=float64"))
    images = RNG.integers(0, 256, (2, 33, 40, 3), np.uint8)
    actual = trained_function(model)(images)
    assert actual.dtype == np.float32 and np.ptp(actual) > 0.1
    expected = model(images, training=False)["logits"].numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.fixture
def other_epsilon(monkeypatch):
    """A fold with the epsilon of another framework."""
    norms = inference_graph._folded_norms
    monkeypatch.setattr(
        inference_graph, "_folded_norms", lambda *a: {k: 1e-3 for k in norms(*a)}
    )


def test_a_broken_fold_is_refused(tiny_config, other_epsilon):
    config = tiny_config()
    model = drawn_model(config)
    with pytest.raises(UserError, match=r"other logits.*off by .*e-0.*allowed 2e-04"):
        predictor_from_model(model, config)
    predictor_from_model(model, config, fold_is_checked=True)


@pytest.mark.parametrize("name", ["shapes_r18", "voc_mobilenetv3_20k"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_intact_folds_are_far_from_the_limit(name, precision, tiny_config):
    settings = [f"train.precision={precision}"]
    if name != "shapes_r18":
        settings += [
            "model.backbone.architecture=mobilenet_v3_small",
            "model.backbone.depth=50",
            "model.backbone.base_channels=64",
            "model.backbone.width=0.25",
        ]
    model = drawn_model(tiny_config(*settings))
    window = RNG.integers(0, 256, (1, 65, 97, 3), np.uint8)
    apart = log_probability_difference(
        inference_function(model)(window).numpy()[0],
        trained_function(model)(window)[0],
    )
    assert apart < EXACT / 5


def test_a_model_without_numbers_is_not_judged(tiny_config, other_epsilon):
    model = drawn_model(tiny_config())
    kernel = model.decode_head.classifier.kernel
    kernel.assign(tf.fill(kernel.shape, np.nan))
    check_fold(model, inference_function(model))


def test_the_copy_of_the_model_is_gone_when_the_folded_one_runs(
    tiny_config, monkeypatch
):
    """The first call of the folded model takes most memory of an evaluation."""
    copies, alive = [], []
    from_config = Segmentor.from_config

    def recorded(settings):
        copy = from_config(settings)
        copies.append(weakref.ref(copy))
        return copy

    model = drawn_model(tiny_config("model.winograd=true"))
    folded = inference_function(model)
    monkeypatch.setattr(Segmentor, "from_config", recorded)

    def predict(window):
        alive.extend(copy for copy in copies if copy() is not None)
        return folded(window)

    check_fold(model, predict)
    assert len(copies) == 1 and not alive


def test_tensor_float_32_is_off_only_meanwhile():
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    before = enabled()
    with pytest.raises(KeyError), exact_products():
        assert not enabled()
        raise KeyError
    assert enabled() == before
