"""The reference's losses and schedules: values and gradients in float64."""

import numpy as np
import pytest
import tensorflow as tf
from drawn import draw_label, draw_normal
from golden import check_drawn, load

from gcnet_tf.config import TrainConfig
from gcnet_tf.training.optimization.losses import COUNTING_IGNORED, LOSSES
from gcnet_tf.training.optimization.schedules import make_schedule

SIZE, NUM_CLASSES = (13, 19), 4
# By the name in the golden file: our settings, without the class weights.
SETTINGS = {
    "cross_entropy": {},
    "cross_entropy_weighted": {},
    "cross_entropy_non_ignore": {"avg_non_ignore": True},
    "cross_entropy_non_ignore_weighted": {"avg_non_ignore": True},
    "cross_entropy_smoothed": {"label_smoothing": 0.1},
    "cross_entropy_smoothed_weighted": {"label_smoothing": 0.1},
    "ohem_sampler": {"min_kept": 60},
    "ohem_sampler_threshold": {"threshold": 0.3, "min_kept": 2},
    "ohem_sampler_min_kept": {"threshold": 0.01, "min_kept": 60},
    "ohem_cross_entropy": {"threshold": 0.3, "min_kept": 5},
    "ohem_cross_entropy_min_kept": {"threshold": 0.01, "min_kept": 100},
    "ohem_cross_entropy_default": {},
    "ohem_cross_entropy_weighted": {"threshold": 0.3, "min_kept": 5},
    "focal": {},
    "focal_weighted": {},
    "focal_settings": {"gamma": 0.75, "alpha": 0.2},
    "dice": {},
    "dice_softmax": {"activation": "softmax"},
    "dice_naive": {"naive": True, "smooth": 0.5},
    "tversky": {},
    "tversky_weighted": {},
    "tversky_settings": {"alpha": 0.75, "smooth": 3.0},
    "lovasz": {},
    "lovasz_weighted": {},
    "lovasz_all": {"classes": "all"},
    "lovasz_per_image": {"per_image": True},
    "hausdorff": {},
    "hausdorff_weighted": {},
    "hausdorff_binary": {},
}
# The reference divides these by a number of pixels plus 1.2e-7.
EPSILON = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def golden():
    return load("loss_terms")


@pytest.fixture(scope="module")
def drawn(golden):
    logits = 3 * draw_normal("term logits", (2, *SIZE, NUM_CLASSES), 12)
    labels = np.stack([draw_label(12 + i, *SIZE, NUM_CLASSES) for i in range(2)])
    check_drawn([logits, labels], golden["input_checksum"])
    assert (labels == 255).any()
    return logits, labels


def divisor(name, labels):
    """Returns the number to which the reference adds `EPSILON`; 0 where it does not."""
    if name == "cross_entropy_non_ignore":
        return np.sum(labels != 255)
    adds = ("cross_entropy", "cross_entropy_weighted")
    return labels.size if name in adds or name.startswith("ohem_sampler") else 0


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("labels_name", ["drawn", "absent"])
@pytest.mark.parametrize("name", SETTINGS)
def test_value_and_gradient(golden, drawn, name, labels_name, graph):
    logits, labels = drawn
    if labels_name == "absent":
        labels = np.where(labels == 1, 2, labels).astype(np.uint8)
    kind = next(kind for kind in reversed(LOSSES) if name.startswith(kind))
    settings = dict(SETTINGS[name])
    if name.endswith("weighted"):
        settings["class_weights"] = tuple(golden["class_weights"])

    if name.endswith("binary"):
        labels = np.where(labels < 2, labels, 255).astype(np.uint8)

    def both(leaf, ids):
        with tf.GradientTape() as tape:
            tape.watch(leaf)
            few = leaf[..., :2] if name.endswith("binary") else leaf
            value = LOSSES[kind](few, ids, **settings)
        return value, tape.gradient(value, leaf)

    function = tf.function(both) if graph else both
    value, gradient = function(tf.constant(logits), tf.constant(labels))
    number = divisor(name, labels)
    factor = 1 + EPSILON / number if number else 1.0
    prefix = f"{labels_name}/{name}"
    np.testing.assert_allclose(value, golden[f"{prefix}/value"] * factor, rtol=1e-10)
    expected = golden[f"{prefix}/gradient"] * factor
    largest = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-10 * largest)
    if kind not in COUNTING_IGNORED:
        assert not gradient.numpy()[labels == 255].any()


def test_no_case_of_the_reference_is_left_out(golden):
    names = {key.split("/")[1] for key in golden if key.endswith("/value")}
    assert names == set(SETTINGS)
    assert {next(k for k in reversed(LOSSES) if n.startswith(k)) for n in names} == set(
        LOSSES
    )


@pytest.mark.parametrize(
    "case, schedule",
    [
        *(("plain", name) for name in ("poly", "cosine", "step", "one_cycle")),
        *(("warm_up", name) for name in ("poly", "cosine", "step")),
    ],
)
def test_schedules(case, schedule):
    golden = load("schedules")
    rate, least, iterations, warm_up, factor = golden["settings"]
    settings = (
        {"step_at": tuple(map(int, golden["milestones"]))} if schedule == "step" else {}
    )
    if schedule == "step":
        least = 0.0
    if case == "warm_up":
        settings |= {"warmup_iterations": int(warm_up), "warmup_factor": factor}
    config = TrainConfig(
        schedule=schedule,
        learning_rate=rate,
        min_learning_rate=least,
        iterations=int(iterations),
        **settings,
    )
    rates_of = make_schedule(config)
    rates = [float(rates_of(step)) for step in range(int(iterations))]
    np.testing.assert_allclose(rates, golden[f"{case}/{schedule}"], rtol=1e-10)
