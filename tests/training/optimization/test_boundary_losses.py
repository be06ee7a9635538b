"""The loss of boundaries: distances beside a definition, edges."""

import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.training.optimization.boundary_losses import hausdorff


def squared_distances(mask):
    """Squared distance of each pixel of a mask to the nearest one outside; else 0."""
    rows, columns = np.nonzero(~mask)
    if not len(rows):
        return np.zeros(mask.shape)
    height, width = np.indices(mask.shape)
    down = (height[..., np.newaxis] - rows) ** 2
    return (down + (width[..., np.newaxis] - columns) ** 2).min(axis=-1)


def expected_loss(logits, labels, weights):
    """Follows the definition, class by class."""
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    total = 0.0
    for class_id in range(1, logits.shape[-1]):
        truth = labels == class_id
        found = logits.argmax(axis=-1) == class_id
        distances = [
            squared_distances(one) + squared_distances(other)
            for one, other in zip(truth, found)
        ]
        errors = (probabilities[..., class_id] - truth) ** 2
        total += weights[class_id] * np.mean(errors * np.stack(distances))
    return total / logits.shape[-1]


@pytest.mark.parametrize("size", [(40, 70), (1, 90), (90, 1), (1, 1)])
def test_wrong_pixels_count_by_their_distances(size):
    # Large regions, so that distances are large, too.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (2, 1, 2)).repeat(size[0], axis=1)
    labels = np.repeat(labels, -(-size[1] // 2), axis=2)[:, :, : size[1]]
    labels[1, 0, 0] = 255
    logits = rng.normal(size=(*labels.shape, 4))
    logits[..., 2] += 4 * (np.arange(size[1]) > size[1] // 3)
    weights = (9.0, 0.5, 2.0, 1.0)
    value = hausdorff(tf.constant(logits), labels.astype(np.uint8), weights)
    expected = expected_loss(logits, labels, weights)
    assert expected > 10 or size == (1, 1)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_a_class_without_a_boundary_has_no_distance():
    drawn = np.random.default_rng(0).normal(size=(1, 5, 6, 2))
    value = hausdorff(tf.constant(drawn + [0.0, 100.0]), np.ones((1, 5, 6), np.uint8))
    assert float(value) == 0
