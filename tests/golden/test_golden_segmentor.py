"""The whole model and the ways to run it, against the reference's numbers."""

import dataclasses
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_image
from golden import check_drawn, drawn_weights, load

from gcnet_tf.config import EvaluationConfig, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.evaluation.load import predictor_from_model, protocol_settings
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime import Predictor, windows
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.weights.files import assign_weights, weight_shapes

CLASSES = 'data.classes=["a", "b", "c", "d", "e"]'
CONFIG = load_config("shapes_r18", ["data.dataset=folder", CLASSES])
SCALE = (130, 65)
WINDOWS = {"window": (33, 41), "stride": (22, 23)}


@pytest.fixture(scope="module")
def golden():
    return load("segmentor")


@pytest.fixture(scope="module")
def models(golden):
    """Function from (align_corners, dtype) to a model, which is built once."""
    built = {}

    def get(align_corners, dtype="float64"):
        if (align_corners, dtype) not in built:
            model = Segmentor(
                5,
                backbone={"depth": 50, "base_channels": 4},
                head={"channels": 16},
                auxiliary={"channels": 8},
                align_corners=align_corners,
                dtype=dtype,
            )
            model.build((None, None, None, 3))
            shapes = weight_shapes(model)
            weights = drawn_weights(shapes, 11, golden["weights_checksum"])
            assign_weights(model, weights)
            built[align_corners, dtype] = model
        return built[align_corners, dtype]

    return get


def config_of(model, mode, ms_flip=False, scale=SCALE):
    """Returns the configuration of an evaluation of the model."""
    return dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, align_corners=model.align_corners),
        evaluation=EvaluationConfig(scale, mode, **WINDOWS, ms_flip=ms_flip),
    )


def predictor(model, mode, ms_flip=False, scale=SCALE) -> Predictor:
    """Returns a predictor that runs the model itself, in its own precision."""
    config = config_of(model, mode, ms_flip, scale)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def logits(images):
        return model(images)["logits"]

    network = Network(logits=lambda images: logits(images).numpy())
    settings = protocol_settings(config, model.backbone.padding_colour)
    facts = facts_of(config.data)
    return Predictor.of_network(
        network, Protocol.from_settings(settings), facts.classes, facts.palette
    )


def image(golden):
    """Draws the image whose size the scale keeps."""
    pixels = draw_image(12, 65, 97)
    check_drawn([pixels], golden["input_checksum"])
    return pixels


def other_image(golden):
    """Draws an image that the evaluation's scale resizes."""
    pixels = draw_image(12, 57, 83)
    check_drawn([pixels], golden["other_checksum"])
    return pixels


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_logits_in_float64(golden, models, mode, align_corners):
    own = predictor(models(align_corners), mode, scale=(97, 65))
    expected = golden[f"{mode}/align_corners_{align_corners}/logits".lower()]
    logits = own.logits(image(golden))[::2, ::2]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize("fused", [False, True])
def test_logits_in_float32(golden, models, mode, align_corners, fused):
    model = models(align_corners, "float32")
    own = predictor(model, mode, scale=(97, 65))
    if fused:
        own = predictor_from_model(model, config_of(model, mode, scale=(97, 65)))
    name = f"{mode}/align_corners_{align_corners}".lower()
    logits = own.logits(image(golden))[::2, ::2]
    expected = golden[f"{name}/logits_float32"]
    largest = np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=6e-5 * largest)
    best = np.sort(golden[f"{name}/logits"], axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-3
    assert clear.mean() > 0.9
    agree = logits.argmax(-1) == golden[f"{name}/logits"].argmax(-1)
    assert agree[clear].all()


@pytest.mark.parametrize("mode, align_corners", [("whole", False), ("slide", True)])
def test_two_resizes(golden, models, mode, align_corners):
    own = predictor(models(align_corners), mode)
    expected = golden[f"{mode}/two_step/logits"]
    logits = own.logits(other_image(golden))[::2, ::2]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode, align_corners", [("whole", False), ("slide", True)])
def test_multi_scale_flip(golden, models, mode, align_corners):
    own = predictor(models(align_corners), mode, ms_flip=True)
    probabilities = own.probabilities(other_image(golden))
    expected = golden[f"{mode}/ms_flip/probabilities"]
    np.testing.assert_allclose(probabilities[::2, ::2], expected, rtol=0, atol=1e-10)
    labels = probabilities.argmax(axis=-1)
    np.testing.assert_array_equal(labels, golden[f"{mode}/ms_flip/labels"])


def test_images_are_scaled_as_in_the_reference(golden):
    """Compares the sizes and every byte."""
    pixels = other_image(golden)
    ratios = EvaluationConfig().ratios
    scales = windows.scales_of(SCALE, ratios)
    np.testing.assert_array_equal(scales, golden["ms_flip/scales"])
    for scale, size, crc in zip(
        scales, golden["ms_flip/resized_sizes"], golden["ms_flip/resized_crc32"]
    ):
        own_size = windows.keep_ratio_size(*pixels.shape[:2], scale)
        assert own_size == tuple(size)
        resized = cv2.resize(pixels, own_size[::-1], interpolation=cv2.INTER_LINEAR)
        assert zlib.crc32(resized.tobytes()) == crc
