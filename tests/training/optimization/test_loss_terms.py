"""Terms of a loss as a configuration names them: sums, replicas, edges, refusals."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.config import config_from_dict
from gcnet_tf.config.schema_training import LOSS_SETTINGS, UNWEIGHTED_LOSSES, LossConfig
from gcnet_tf.errors import UserError
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.optimization.losses import COUNTING_IGNORED, LOSSES, make_loss

RNG = np.random.default_rng(0)
CLASSES = 5
LOGITS = 2 * RNG.normal(size=(4, 6, 7, CLASSES))
LABELS = RNG.choice([0, 1, 2, 3, 4, 255], (4, 6, 7)).astype(np.uint8)
WEIGHTS = (0.5, 2.0, 0.25, 1.0, 3.0)
# Losses whose value on two replicas is that on one.
DIVISIBLE = {
    "cross_entropy": {},
    "cross_entropy_non_ignore": {"avg_non_ignore": True, "label_smoothing": 0.1},
    "ohem_sampler": {"threshold": 0.9, "min_kept": 1},
    "focal": {},
    "dice": {},
    "tversky": {},
    "lovasz": {"per_image": True},
    "hausdorff": {},
}


def loss_config(*terms, **train):
    names = [f"class {number}" for number in range(CLASSES)]
    data = {"dataset": "folder", "classes": names}
    return config_from_dict({"data": data, "train": {"losses": terms, **train}})


def with_gradient(loss_of, logits, labels):
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss_of(logits, labels)
    return value, tape.gradient(value, logits)


def test_functions_have_the_settings_and_defaults_of_the_configuration():
    assert set(LOSSES) == set(LOSS_SETTINGS)
    fields = set(inspect.signature(LossConfig).parameters) - {"kind", "weight"}
    assert fields == set().union(*LOSS_SETTINGS.values())
    for kind, loss in LOSSES.items():
        parameters = dict(inspect.signature(loss).parameters)
        takes_weights = parameters.pop("class_weights", None) is not None
        assert takes_weights == (kind not in UNWEIGHTED_LOSSES)
        del parameters["logits"], parameters["labels"]
        defaults = {name: item.default for name, item in parameters.items()}
        assert defaults == LOSS_SETTINGS[kind]


def test_terms_are_added_with_their_weights_in_float32():
    config = loss_config(
        {"kind": "tversky", "weight": 3.0, "alpha": 0.5}, {"weight": 0.25}
    )
    loss_of = make_loss(config, WEIGHTS)
    logits = tf.cast(LOGITS, tf.bfloat16)
    value, gradient = with_gradient(loss_of, logits, LABELS)
    wide = tf.cast(logits, tf.float64)
    expected = 3 * LOSSES["tversky"](wide, LABELS, WEIGHTS, alpha=0.5)
    expected += 0.25 * LOSSES["cross_entropy"](wide, LABELS, WEIGHTS)
    assert (value.dtype, gradient.dtype) == (tf.float32, tf.bfloat16)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("name", DIVISIBLE)
def test_two_replicas_have_the_loss_and_gradient_of_one(name):
    kind = next(kind for kind in LOSSES if name.startswith(kind))
    weights = {} if kind in UNWEIGHTED_LOSSES else {"class_weights": WEIGHTS}
    # The replicas have different numbers of labelled pixels.
    labels = LABELS.copy()
    labels[:2, :4] = 255

    def loss_of(logits, labels):
        return LOSSES[kind](logits, labels, **weights, **DIVISIBLE[name])

    expected, expected_gradient = with_gradient(loss_of, LOGITS, labels)
    strategy = make_strategy("mirrored", 2)

    def part(context):
        begin = 2 * context.replica_id_in_sync_group
        return LOGITS[begin : begin + 2], tf.constant(labels[begin : begin + 2])

    @tf.function
    def step(batch):
        return strategy.run(lambda pair: with_gradient(loss_of, *pair), args=(batch,))

    value, gradient = step(strategy.experimental_distribute_values_from_function(part))
    mean = strategy.reduce("MEAN", value, axis=None)
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    parts = strategy.experimental_local_results(gradient)
    # The step divides the loss by the number of replicas.
    np.testing.assert_allclose(
        np.concatenate(parts) / 2, expected_gradient, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in LOSSES if kind not in COUNTING_IGNORED]
)
@pytest.mark.parametrize("settings", ["own", "other"])
def test_a_batch_without_a_label_has_no_loss_and_no_gradient(kind, settings):
    """A crop can be padding and void only."""
    other = {
        "cross_entropy": {"avg_non_ignore": True},
        "ohem_sampler": {"threshold": 0.5},
        "lovasz": {"per_image": True, "classes": "present"},
    }
    arguments = other.get(kind, {}) if settings == "other" else {}
    ignored = np.full_like(LABELS, 255)
    value, gradient = with_gradient(
        lambda *pair: LOSSES[kind](*pair, **arguments), LOGITS, ignored
    )
    assert float(value) == 0
    assert not np.any(gradient)


@pytest.mark.parametrize("kind", LOSSES)
def test_huge_logits_have_finite_gradients(kind):
    """Probabilities of float32 are 0 and 1 there."""
    value, gradient = with_gradient(
        LOSSES[kind], tf.constant(1e4 * LOGITS, tf.float32), LABELS
    )
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("kind", COUNTING_IGNORED)
def test_losses_that_count_ignored_pixels_say_so(kind):
    with pytest.warns(UserWarning, match=f"{kind} counts pixels that are not labelled"):
        make_loss(loss_config({"kind": kind}))


@pytest.mark.parametrize(
    "terms, train, message",
    [
        (
            [{}],
            {"loss": {"class_name": "Dice", "config": {}}},
            "train.losses: received terms, and train.loss names a loss",
        ),
        (
            [{}, {"kind": "dice", "gamma": 1}],
            {},
            r"train.losses\[1\].gamma: received 1.0, but dice has no such setting, it "
            "has activation, naive, smooth",
        ),
        (
            [{"kind": "dice"}],
            {"class_weights": "auto"},
            "train.class_weights: received weights, but no term",
        ),
        ([{"kind": "lovas"}], {}, r"train.losses\[0\].kind: .*lovasz"),
        (
            [{"kind": "hausdorff", "alpha": 1}],
            {},
            "hausdorff has no such setting, it has none",
        ),
        (
            [{"kind": "hausdorff"}],
            {"jit_compile": True},
            "train.jit_compile: received true with the loss hausdorff",
        ),
        ([{"weight": 0}], {}, r"train.losses\[0\].weight: received 0; .*above 0"),
        ([{"label_smoothing": 1}], {}, "label_smoothing: received 1; .*below 1"),
    ],
)
def test_terms_that_mean_nothing_are_refused(terms, train, message):
    with pytest.raises(UserError, match=message):
        loss_config(*terms, **train)
