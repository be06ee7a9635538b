import hashlib

import cv2
import keras
import numpy as np
import oracles
import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.load import (
    load_model,
    model_hash,
    predictor_from_model,
)
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.models import build_model

pytestmark = pytest.mark.usefixtures("shallow")

IMAGE = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tiny_config):
    keras.utils.set_random_seed(0)
    model = build_model(tiny_config())
    kernel = model.decode_head.classifier.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    return model


def test_labels_come_by_two_resizes(model, tiny_config):
    """Images go to the test scale, and logits back (docs/reference.md, section 6)."""
    config = tiny_config("evaluation.scale=[66,45]")
    labels = predictor_from_model(model, config).labels(IMAGE)
    resized = cv2.resize(IMAGE, (66, 45), interpolation=cv2.INTER_LINEAR)
    logits = model(resized[None])["logits"].numpy()
    expected = oracles.resize_bilinear(logits, (30, 44), False)[0]
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-3
    assert clear.mean() > 0.9 and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels[clear], expected.argmax(-1)[clear])


def test_slide_averages_windows(model, tiny_config):
    config = tiny_config(
        "evaluation.scale=[44,30]",
        "evaluation.mode=slide",
        "evaluation.window=[30,30]",
        "evaluation.stride=[20,14]",
    )
    labels = predictor_from_model(model, config).labels(IMAGE)
    left = model(IMAGE[None, :, :30])["logits"].numpy()[0]
    second = model(IMAGE[None, :, 14:])["logits"].numpy()[0]
    expected = np.zeros((30, 44, 6))
    expected[:, :14] = left[:, :14]
    expected[:, 14:30] = (left[:, 14:] + second[:, :16]) / 2
    expected[:, 30:] = second[:, 16:]
    assert (labels == expected.argmax(-1)).mean() > 0.999


def test_evaluate_counts_every_image_once(model, tiny_config):
    config = tiny_config()
    predictor = predictor_from_model(model, config)
    matrix, shown = ConfusionMatrix(6), []

    def remember(index, image, truth, prediction):
        matrix.update(truth, prediction)
        shown.append(index)

    metrics = evaluate(predictor, config, "val", on_sample=remember)
    assert shown == [0, 1, 2]
    assert metrics.miou == matrix.metrics().miou
    assert matrix.counts.sum() > 0.8 * 3 * 32 * 32


def test_a_perfect_predictor_scores_one(model, tiny_config):
    truths = []
    config = tiny_config()
    predictor = predictor_from_model(model, config)
    evaluate(predictor, config, "train", on_sample=lambda i, x, y, p: truths.append(y))

    class Perfect:
        classes, parallel = predictor.classes, 1

        def __init__(self):
            self.truths = iter(truths)

        def images_at_once(self, size):
            return 4

        def labels(self, images):
            labels = np.stack([next(self.truths) for _ in images])
            return np.where(labels == 255, 0, labels)

    assert evaluate(Perfect(), config, "train").miou == 1.0


def test_a_keras_file_needs_its_configuration(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    loaded, _ = load_model("shapes_r18", None, str(path), [])
    np.testing.assert_array_equal(
        loaded(IMAGE[None])["logits"], model(IMAGE[None])["logits"]
    )
    with pytest.raises(UserError, match="give its configuration"):
        load_model(None, None, str(path), [])
    with pytest.raises(UserError, match="not a gcnet_tf model of 21 classes"):
        load_model("voc_r50_20k", None, str(path), [])


def test_the_arguments_must_name_one_model():
    for arguments in [(None, None, None), ("shapes_r18", None, None)]:
        with pytest.raises(UserError, match="--weights and --cfg"):
            load_model(*arguments, [])
    with pytest.raises(UserError, match="a.weights.h5 holds weights alone.*--cfg"):
        load_model(None, "a.weights.h5", None, [])
    with pytest.raises(UserError, match="not both"):
        load_model(None, "a.weights.h5", "run", [])


def test_the_hash_of_a_model_is_that_of_its_weights(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "best.weights.h5").write_bytes(b"first")
    of_run = model_hash(None, str(run))
    assert of_run == hashlib.sha256(b"first").hexdigest()
    assert model_hash(str(run / "best.weights.h5"), None) == of_run
    (run / "best.weights.h5").write_bytes(b"second")
    assert model_hash(None, str(run)) != of_run
    (tmp_path / "m.keras").write_bytes(b"second")
    assert model_hash(None, str(tmp_path / "m.keras")) == model_hash(None, str(run))
