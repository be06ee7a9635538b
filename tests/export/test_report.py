import dataclasses

import keras
import numpy as np
import pytest

from gcnet_tf.data.stream.pipeline import evaluation_samples
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.export.accuracy.limits import LIMITS, Accuracy, excesses
from gcnet_tf.export.accuracy.measure import _error, measure
from gcnet_tf.export.accuracy.samples import framed
from gcnet_tf.export.accuracy.table import table
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.models import build_model
from gcnet_tf.runtime.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("shallow")

ROW = Accuracy(
    images=3,
    logit_images=3,
    size=(32, 32),
    agreement=1.0,
    difference=1e-5,
    miou=0.5,
    keras_miou=0.5,
    drop_error=0.0,
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
    accuracies, failures = measure(paths, model, config, (32, 32), 10)
    assert failures == []
    return model, config, paths, accuracies


def test_the_same_model_loses_nothing(measured):
    _, _, (path,), accuracies = measured
    row = accuracies[path]
    assert (row.images, row.logit_images, row.size) == (3, 3, (32, 32))
    assert row.agreement == 1 and 0 < row.difference < 1e-5
    assert row.drop == pytest.approx(0, abs=1e-3) and row.drop_error < 1e-3
    assert excesses(accuracies) == []
    text = table(accuracies)
    assert path.name in text and "on images of val at 32x32" in text
    assert "equal pixels, mIoU and drop of 3 image(s), logits of the first 3" in text


def test_the_table_has_a_part_for_each_size(measured):
    """Each has its own mIoU of the Keras model."""
    _, _, (path,), accuracies = measured
    wide = dataclasses.replace(ROW, size=(32, 64), keras_miou=0.25, logit_images=1)
    text = table({**accuracies, path.parent: wide})
    first, second = text.split("\n\n")
    assert f"(mIoU {accuracies[path].keras_miou:.4f})" in first
    assert "(mIoU 0.2500), on images of val at 32x64" in second
    assert "logits of the first 1" in second


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


def test_images_are_framed_like_the_runtimes():
    image = np.arange(20 * 40 * 3, dtype=np.uint8).reshape(20, 40, 3)
    label = np.full((20, 40), 2, np.uint8)
    sample = framed(image, label, (32, 32), (124, 116, 104))
    assert sample.image.shape == (32, 32, 3)
    assert (sample.image[16:] == (124, 116, 104)).all()
    assert (sample.label[:16] == 2).all() and (sample.label[16:] == 255).all()
    assert sample.valid == (slice(16), slice(32))


@pytest.mark.parametrize(
    "precision, change, word",
    [
        ("fp32", {"agreement": 0.9998}, "99.980% equal pixels"),
        ("fp32", {"agreement": float("nan")}, "nan% equal pixels"),
        ("fp32", {"difference": 3e-4}, "logits off by 3.0e-04"),
        ("fp32", {"difference": float("inf")}, "logits off by inf"),
        ("fp16", {"agreement": 0.98}, "equal pixels"),
        ("fp16", {"miou": 0.4989}, "mIoU lower by 0.0011"),
        ("bf16", {"agreement": 0.979}, "equal pixels"),
        ("bf16", {"miou": 0.4979}, "mIoU lower"),
        ("dynamic", {"agreement": 0.89}, "equal pixels"),
        ("dynamic", {"miou": 0.4969}, "mIoU lower"),
        ("int8", {"agreement": 0.89}, "equal pixels"),
        ("int8", {"miou": 0.4899}, "mIoU lower"),
        ("full_int8", {"agreement": 0.89}, "equal pixels"),
        ("full_int8", {"miou": 0.4899}, "mIoU lower"),
    ],
)
def test_each_limit_can_be_exceeded(precision, change, word):
    assert ROW.excess(LIMITS[precision]) is None
    assert word in dataclasses.replace(ROW, **change).excess(LIMITS[precision])


def test_the_allowed_drop_follows_from_the_number_of_images():
    """A drop is judged against its own error, and not at all on one image."""
    row = dataclasses.replace(ROW, miou=0.485)
    assert "± 0.0020" in dataclasses.replace(row, drop_error=0.002).excess(
        LIMITS["int8"]
    )
    assert dataclasses.replace(row, drop_error=0.003).excess(LIMITS["int8"]) is None
    assert dataclasses.replace(row, drop_error=None).excess(LIMITS["int8"]) is None


def test_the_error_of_a_mean_is_its_standard_error():
    """The jackknife of a mean is the textbook's s / sqrt(n)."""
    values = np.array([0.1, 0.4, 0.2, 0.9])
    without = (values.sum() - values) / 3
    assert _error(without) == pytest.approx(values.std(ddof=1) / 2)
    assert _error(without[:1]) is None and _error(np.array([np.nan, 0.1])) is None
