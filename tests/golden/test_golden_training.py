"""Losses, learning rates and training steps against the reference's own numbers."""

import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_image, draw_label, draw_normal
from golden import check_drawn, drawn_weights, load

from gcnet_tf.compat import build_optimizer
from gcnet_tf.layers import resize_bilinear
from gcnet_tf.models import Segmentor
from gcnet_tf.training.optimization.losses import cross_entropy
from gcnet_tf.training.optimization.optimizers import NORMS_AND_BIASES, CoupledSGD
from gcnet_tf.training.optimization.schedules import PolynomialDecay
from gcnet_tf.training.step import make_train_step
from gcnet_tf.weights.files import assign_weights, weight_shapes, weights_by_path
from gcnet_tf.weights.mmseg_names import reference_key, to_reference

PADDED = (33, 49)
RATE = PolynomialDecay(0.01, 1e-4, 10, 0.9)
HEAD_RATE = PolynomialDecay(0.1, 1e-4, 10, 0.9)


@pytest.fixture(scope="module")
def golden():
    return load("training")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("case", ["drawn", "ignored", "one_ignored"])
def test_losses(case, align_corners):
    golden = load("losses")
    decode, aux = (
        3 * draw_normal(f"{name} logits", (2, 5, 7, 4), 12)
        for name in ("decode", "aux")
    )
    labels = np.stack([draw_label(12 + index, 33, 49, 4) for index in range(2)])
    check_drawn([decode, aux, labels], golden["input_checksum"])
    labels[: {"drawn": 0, "one_ignored": 1, "ignored": 2}[case]] = 255
    prefix = f"{case}/align_corners_{align_corners}".lower()
    for name, logits, weight in (("decode", decode, 1.0), ("aux", aux, 0.4)):
        leaf = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            enlarged = resize_bilinear(leaf, labels.shape[1:], align_corners)
            loss = weight * cross_entropy(enlarged, labels)
        # The reference adds 1.2e-7 to the divisor, the number of pixels.
        expected = golden[f"{prefix}/{name}"]
        np.testing.assert_allclose(loss, expected, rtol=1e-10)
        expected = golden[f"{prefix}/{name}_gradient"]
        gradient = tape.gradient(loss, leaf)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * largest)


def test_learning_rates():
    golden = load("schedule")
    for name, iterations, steps in (
        ("rates_10", 10, range(10)),
        ("rates_137", 137, range(137)),
        ("rates_20000", 20000, golden["steps_20000"]),
    ):
        schedule = PolynomialDecay(0.01, 1e-4, iterations, 0.9)
        rates = [float(schedule(int(step))) for step in steps]
        np.testing.assert_allclose(rates, golden[name], rtol=1e-12)
    rates = [float(HEAD_RATE(step)) for step in range(10)]
    np.testing.assert_allclose(rates, golden["rates_10_head_times_10"], rtol=1e-12)


def batch(golden):
    """Draws a batch of two samples, of which the second one is padded."""
    sizes = [tuple(size) for size in golden["valid_sizes"]]
    images = [draw_image(12 + index, *size) for index, size in enumerate(sizes)]
    labels = [draw_label(12 + index, *size, 3) for index, size in enumerate(sizes)]
    check_drawn([*images, *labels], golden["input_checksum"])
    padded_images = np.full((2, *PADDED, 3), 77, np.uint8)
    padded_labels = np.full((2, *PADDED), 255, np.uint8)
    for index, (height, width) in enumerate(sizes):
        padded_images[index, :height, :width] = images[index]
        padded_labels[index, :height, :width] = labels[index]
    return {
        "image": tf.constant(padded_images),
        "label": tf.constant(padded_labels),
        "valid_size": tf.constant(golden["valid_sizes"], tf.int32),
        "seed": tf.zeros([2, 2], tf.int32),
    }


def train(golden, steps, decay, rates=None, frozen_stages=-1, **options):
    """Trains, and returns the model, its optimiser and the losses of each step."""
    model = Segmentor(
        3,
        backbone={"depth": 18, "base_channels": 4, "frozen_stages": frozen_stages},
        head={"channels": 8, "dropout": 0, "context": {"ratio": 0.5}},
        auxiliary={"channels": 8, "dropout": 0},
        dtype="float64",
    )
    model.build((None, None, None, 3))
    shapes = weight_shapes(model)
    assign_weights(model, drawn_weights(shapes, 11, golden["weights_checksum"]))
    optimizer = CoupledSGD(RATE, 0.9, decay, rates, **options)
    build_optimizer(optimizer, model)
    strategy = tf.distribute.get_strategy()
    train_step = make_train_step(model, optimizer, strategy, auxiliary_weight=0.4)
    samples = batch(golden)
    losses = [train_step(samples) for _ in range(steps)]
    return model, optimizer, losses


def gradients(golden, **settings):
    """Yields the gradients of the first step by the reference's names.

    Without weight decay they are the velocities of the optimiser.
    """
    model, optimizer, _ = train(golden, steps=1, decay=0.0, **settings)
    paths = {id(weight): path for path, weight in weights_by_path(model).items()}
    for weight, velocity in zip(model.trainable_weights, optimizer.velocities):
        path = paths[id(weight)]
        yield reference_key(path), to_reference(path, velocity.numpy())


def parameters(model):
    """Yields the weights of a model by the reference's names."""
    for path, weight in weights_by_path(model).items():
        yield reference_key(path), to_reference(path, weight.numpy())


def test_gradients(golden):
    count = 0
    for key, gradient in gradients(golden):
        expected = golden[f"gradient/{key}"]
        # The true gradient of the mask's bias is 0, and both are rounding noise.
        largest = np.abs(expected).max() if "conv_mask.bias" not in key else 1e-4
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=1e-9 * largest, err_msg=key
        )
        count += 1
    assert count == sum(key.startswith("gradient/") for key in golden)


def test_four_steps(golden):
    model, _, losses = train(golden, steps=4, decay=5e-4)
    # The reference's divisor of the loss is larger by 1.2e-7, see test_losses.
    for name, ours in (("decode_loss", "decode_loss"), ("aux_loss", "auxiliary_loss")):
        values = [float(step_losses[ours]) for step_losses in losses]
        np.testing.assert_allclose(values, golden[name], rtol=1e-10)
    count = 0
    for key, value in parameters(model):
        np.testing.assert_allclose(
            value, golden[f"after/{key}"], rtol=0, atol=1e-11, err_msg=key
        )
        count += 1
    assert count == sum(key.startswith("after/") for key in golden)


def summary(key, value):
    """Returns the sum, the norm and one projection, as the golden file has them."""
    projection = draw_normal(f"projection {key}", value.shape, 12)
    return [value.sum(), np.sqrt(np.sum(value**2)), np.sum(value * projection)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, settings",
    [
        (
            "head_times_10",
            {"rates": {"decode_head": HEAD_RATE, "auxiliary_head": HEAD_RATE}},
        ),
        ("frozen_stages_1", {"frozen_stages": 1}),
    ],
)
def test_four_steps_with_settings(golden, case, settings):
    model, _, _ = train(golden, steps=4, decay=5e-4, **settings)
    for kind, values in (
        ("gradient", gradients(golden, **settings)),
        ("after", parameters(model)),
    ):
        summaries = {key: summary(key, value) for key, value in values}
        names = list(golden[f"{case}/{kind}_names"])
        assert sorted(summaries) == sorted(names)
        for key, expected in zip(names, golden[f"{case}/{kind}_summaries"]):
            np.testing.assert_allclose(
                summaries[key], expected, atol=1e-10, err_msg=key
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, options, tolerance",
    [
        ("no_norm_bias_decay", {"undecayed": NORMS_AND_BIASES}, 1e-10),
        # PyTorch adds 1e-6 to the norm that it divides by.
        ("clipped", {"global_clipnorm": 0.25}, 1e-6),
    ],
)
def test_four_steps_with_options(golden, case, options, tolerance):
    settings = load("training_settings")
    model, _, losses = train(golden, steps=4, decay=5e-4, **options)
    expected = settings[f"{case}/decode_loss"]
    plain = golden["decode_loss"]
    assert np.abs(expected - plain).max() > 1e3 * tolerance * plain.max()
    values = [float(step_losses["decode_loss"]) for step_losses in losses]
    np.testing.assert_allclose(values, expected, rtol=tolerance)
    summaries = {key: summary(key, value) for key, value in parameters(model)}
    names = list(settings[f"{case}/after_names"])
    assert sorted(summaries) == sorted(names)
    for key, expected in zip(names, settings[f"{case}/after_summaries"]):
        np.testing.assert_allclose(
            summaries[key], expected, rtol=0, atol=tolerance, err_msg=key
        )
