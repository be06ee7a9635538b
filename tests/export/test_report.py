import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.export import report
from gcnet_tf.export.report import LIMITS, Accuracy, excesses, measure, table
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model
from gcnet_tf.runtime.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("shallow")

ROW = Accuracy(
    images=3,
    size=(32, 32),
    agreement=1.0,
    difference=1e-5,
    miou=0.5,
    keras_miou=0.5,
)


def drawn_model(config, seed):
    keras.utils.set_random_seed(seed)
    model = build_model(config)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(np.random.default_rng(seed).normal(size=kernel.shape))
    return model


@pytest.fixture(scope="module")
def measured(tiny_config, tmp_path_factory):
    config = tiny_config()
    model = drawn_model(config, 0)
    paths = export_saved_model(model, config, tmp_path_factory.mktemp("a"))
    return model, config, paths, measure(paths, model, config, (32, 32), 10)


def test_the_same_model_loses_nothing(measured):
    _, _, (path,), accuracies = measured
    row = accuracies[path]
    assert row.images == 3 and row.size == (32, 32)
    assert row.agreement > 0.999 and 0 < row.difference < 1e-4
    assert excesses(accuracies) == []
    assert path.name in table(accuracies)


def test_the_miou_is_that_of_the_model(measured):
    """At the images' own size, the framing changes nothing."""
    model, config, (path,), accuracies = measured
    matrix = ConfusionMatrix(model.num_classes)
    for sample in evaluation_samples(config):
        logits = model(sample["image"][None])["logits"].numpy()[0]
        matrix.update(sample["label"], logits.argmax(-1))
    assert accuracies[path].keras_miou == pytest.approx(matrix.metrics().miou)
    assert accuracies[path].miou == pytest.approx(accuracies[path].keras_miou, abs=1e-3)


def test_the_manifest_holds_the_accuracy(measured):
    _, _, (path,), accuracies = measured
    record = read_manifest(path).accuracy  # which also checks the file's hash
    assert record["split"] == "val" and record["miou"] == accuracies[path].miou


def test_another_model_is_noticed(measured, tiny_config, tmp_path):
    _, config, paths, _ = measured
    accuracies = measure(paths, drawn_model(config, 1), config, (40, 32), 2)
    row = accuracies[paths[0]]
    assert row.images == 2 and row.agreement < 0.9 and row.difference > 0.1
    (sentence,) = excesses(accuracies)
    assert "saved_model_fp32 has lost too much" in sentence


def test_images_are_framed_like_the_runtimes():
    image = np.arange(20 * 40 * 3, dtype=np.uint8).reshape(20, 40, 3)
    label = np.full((20, 40), 2, np.uint8)
    sample = report._framed(image, label, (32, 32), (124, 116, 104))
    assert sample.image.shape == (32, 32, 3)
    assert (sample.image[16:] == (124, 116, 104)).all()
    assert (sample.label[:16] == 2).all() and (sample.label[16:] == 255).all()
    assert sample.valid == (slice(16), slice(32))


@pytest.mark.parametrize(
    "precision, change, word",
    [
        ("fp32", {"agreement": 0.9998}, "99.980% equal pixels"),
        ("fp32", {"difference": 2e-3}, "logits off by 2.0e-03"),
        ("fp16", {"miou": 0.4989}, "mIoU lower by 0.0011"),
        ("bf16", {"agreement": 0.9949}, "equal pixels"),
        ("bf16", {"miou": 0.4979}, "mIoU lower"),
        ("dynamic", {"miou": 0.4969}, "mIoU lower"),
        ("int8", {"miou": 0.4899}, "mIoU lower"),
    ],
)
def test_each_limit_can_be_exceeded(precision, change, word):
    assert ROW.excess(LIMITS[precision]) is None
    assert word in dataclasses.replace(ROW, **change).excess(LIMITS[precision])


def test_logits_may_differ_by_a_constant_per_pixel():
    logits = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    shifted = np.log(tf.nn.softmax(logits).numpy())
    everything = (slice(4), slice(5))
    assert report._difference(shifted, logits, everything) < 1e-5
    shifted[1, 2, 0] += 0.3
    assert report._difference(shifted, logits, everything) == pytest.approx(
        0.2, abs=1e-5
    )
