import numpy as np
import oracles
import tensorflow as tf

from gcnet_tf.training.optimization.losses import cross_entropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 3, 4, 5))
LABELS = RNG.integers(0, 5, (2, 3, 4)).astype(np.uint8)
LABELS[0, :2] = 255


def test_divides_by_all_pixels_with_the_ignored_ones():
    probabilities = oracles.softmax(LOGITS)
    total = -sum(
        np.log(probabilities[position][label])
        for position, label in np.ndenumerate(LABELS)
        if label != 255
    )
    loss = cross_entropy(tf.constant(LOGITS), LABELS)
    np.testing.assert_allclose(loss, total / LABELS.size, rtol=1e-12)


def test_ignored_pixels_have_no_gradient():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(logits, LABELS)
    gradient = tape.gradient(loss, logits).numpy()
    onehot = np.eye(5)[np.where(LABELS == 255, 0, LABELS)]
    expected = (oracles.softmax(LOGITS) - onehot) / LABELS.size
    expected[LABELS == 255] = 0
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


def test_all_ignored_is_zero():
    assert cross_entropy(tf.constant(LOGITS), np.full_like(LABELS, 255)).numpy() == 0


def test_logits_that_are_not_finite_show_in_the_loss():
    """A training notices them in its loss, and stops."""
    for value in (np.nan, np.inf):
        logits = LOGITS.copy()
        logits[1, 2, 3, LABELS[1, 2, 3]] = value
        assert not np.isfinite(cross_entropy(tf.constant(logits), LABELS))


def test_class_weights_multiply_and_leave_the_divisor():
    weights = (0.5, 2.0, 0.0, 1.0, 7.0)
    probabilities = oracles.softmax(LOGITS)
    total = -sum(
        weights[label] * np.log(probabilities[position][label])
        for position, label in np.ndenumerate(LABELS)
        if label != 255
    )
    loss = cross_entropy(tf.constant(LOGITS), LABELS, weights)
    np.testing.assert_allclose(loss, total / LABELS.size, rtol=1e-12)


def test_a_batch_whose_classes_all_weigh_nothing_has_no_loss_and_no_gradient():
    """ "auto" gives 0 to a class that no training pixel has."""
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(logits, LABELS, (0.0,) * 5)
    assert loss.numpy() == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros_like(LOGITS))
