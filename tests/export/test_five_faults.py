"""Five deliberate faults: the accuracy report finds each in every format concerned.

The oracle is the trained Keras model. A fault of the fold is in all files alike, and in
the folded model that they are made from.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import draw_weights
from worker_here import run_worker

from gcnet_tf.errors import UserError
from gcnet_tf.export import run, saved_model
from gcnet_tf.export.accuracy.limits import excesses
from gcnet_tf.export.accuracy.measure import measure
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.plan import Checks, Job
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.tflite import export as tflite
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.layers.convolution.conv import SymmetricConv2D
from gcnet_tf.models import build_model, inference_graph
from gcnet_tf.weights.files import weights_by_path

pytestmark = [pytest.mark.usefixtures("shallow"), pytest.mark.slow]

SIZE = (32, 32)


def drawn_model(config, seed=0):
    keras.utils.set_random_seed(seed)
    model = build_model(config)
    rng = np.random.default_rng(seed)
    draw_weights(model, rng)
    kernel = model.decode_head.classifier.kernel
    kernel.assign(rng.normal(size=kernel.shape))
    return model


@pytest.fixture(scope="module")
def model(tiny_config):
    return drawn_model(tiny_config())


@pytest.fixture(autouse=True)
def worker_in_this_process(monkeypatch):
    monkeypatch.setattr(tflite, "_run_worker", run_worker)


def epsilon(patch):
    """Folds with an epsilon of 1e-3 in place of 1e-5."""
    norms = inference_graph._folded_norms
    patch.setattr(
        inference_graph, "_folded_norms", lambda *a: {k: 1e-3 for k in norms(*a)}
    )


def after_fold(patch, change):
    fold = inference_graph.fold

    def changed(*arguments, **settings):
        folded = fold(*arguments, **settings)
        change(folded)
        return folded

    for module in (inference_graph, saved_model):  # the other files take a graph
        patch.setattr(module, "fold", changed)


def swapped_class(patch):
    """Exchanges the two classes that are predicted most."""

    def swap(folded):
        image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
        labels = folded(image)["logits"].numpy().argmax(-1)
        order = np.arange(6)
        first, second = np.bincount(labels.ravel(), minlength=6).argsort()[-2:]
        order[[first, second]] = second, first
        for path, weight in weights_by_path(folded).items():
            if path.startswith("decode_head/classifier/"):
                weight.assign(tf.gather(weight, order, axis=-1))

    after_fold(patch, swap)


def wrong_mean(patch):
    """Subtracts the mean of blue, green and red."""
    after_fold(
        patch,
        lambda folded: setattr(folded.backbone, "mean", folded.backbone.mean[::-1]),
    )


def missing_pad(patch):
    """Pads dilated convolutions at the bottom and at the right only."""
    convolve = SymmetricConv2D._convolve

    def shifted(layer, inputs, kernel):
        if not layer.folded or layer.dilation == 1:
            return convolve(layer, inputs, kernel)
        pad = layer.dilation * (layer.kernel_size - 1)
        padding = [[0, 0], [0, pad], [0, pad], [0, 0]]
        return tf.nn.conv2d(
            inputs, kernel, 1, padding=padding, dilations=layer.dilation
        )

    patch.setattr(SymmetricConv2D, "_convolve", shifted)


def export_fp32(model, config, folder):
    return [
        *export_saved_model(model, config, folder),
        *export_onnx(model, config, folder),
        *export_tflite(model, config, folder, size=SIZE),
    ]


FAULTS = (epsilon, swapped_class, missing_pad, wrong_mean)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_fold_is_found_in_every_format(
    fault, model, tiny_config, tmp_path
):
    config = tiny_config()
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        paths = export_fp32(model, config, tmp_path)
    accuracies, failures = measure(paths, model, config, SIZE, 3)
    assert failures == []
    found = {sentence.split()[0] for sentence in excesses(accuracies)}
    expected = {path.name for path in paths}
    if fault is epsilon:  # too small a change for most labels, which this file gives
        expected -= {"model_fp32_labels.tflite"}
        found -= {"model_fp32_labels.tflite"}
    assert found == expected


@pytest.mark.parametrize("precision", ["fp16", "dynamic"])
def test_exchanged_classes_are_found_in_inexact_files(
    precision, model, tiny_config, tmp_path
):
    config = tiny_config()
    with pytest.MonkeyPatch.context() as patch:
        swapped_class(patch)
        paths = export_tflite(model, config, tmp_path, precision=precision, size=SIZE)
    accuracies, _ = measure(paths, model, config, SIZE, 3)
    assert len(excesses(accuracies)) == 2


def test_no_intact_file_is_accused(model, tiny_config, tmp_path):
    """On three images of 32x32, where one pixel of 3,072 is more than the 0.01 %."""
    config = tiny_config()
    paths = export_fp32(model, config, tmp_path)
    for precision in ("fp16", "dynamic"):
        paths += export_tflite(model, config, tmp_path, precision=precision, size=SIZE)
    paths += export_saved_model(model, config, tmp_path, precision="bf16")
    accuracies, failures = measure(paths, model, config, SIZE, 3)
    assert excesses(accuracies) == failures == []
    assert all(
        row.difference is None or row.difference < 1e-5
        for path, row in accuracies.items()
        if "fp32" in path.name
    )


def test_a_stale_file_is_found(model, tiny_config, tmp_path):
    """Even of weights that hardly differ, in a precision that allows a loss."""
    config = tiny_config()
    paths = export_saved_model(model, config, tmp_path, precision="bf16")
    trained_on = drawn_model(config)
    bias = trained_on.decode_head.classifier.bias
    bias.assign(bias + 1e-6)
    accuracies, failures = measure(paths, trained_on, config, SIZE, 3)
    assert accuracies == {}
    assert failures == [
        "saved_model_bf16 was not measured: it holds other weights than this model. "
        "Export it again."
    ]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("samples", [0, 3])
def test_a_broken_fold_fails_the_export(fault, samples, model, tiny_config, tmp_path):
    jobs = [Job("saved_model", "bf16", None)]
    checks = Checks(samples, allow_drop=True)
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        with pytest.raises(UserError, match="gives other logits than the trained"):
            run.export(model, tiny_config(), jobs, tmp_path / "out", checks=checks)
    assert not (tmp_path / "out").exists()
