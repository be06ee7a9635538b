import numpy as np
import pytest
import tensorflow as tf

from gcnet_tf.layers import BatchNorm
from gcnet_tf.training.distributed.strategy import make_strategy

RNG = np.random.default_rng(0)
EPSILON = 1e-5


def expected_after_one_batch(x, gamma, beta):
    """Computes output, running mean and running variance by their formulas."""
    values = x.astype(np.float64).reshape(-1, x.shape[-1])
    mean, variance = values.mean(0), values.var(0)
    out = (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta
    return out, 0.1 * mean, 0.9 + 0.1 * values.var(0, ddof=1)


def built(x, dtype="float32"):
    layer = BatchNorm(dtype=dtype)
    layer.build(x.shape)
    layer.gamma.assign(RNG.uniform(0.5, 2, x.shape[-1]))
    layer.beta.assign(RNG.normal(size=x.shape[-1]))
    return layer


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_one_replica(dtype, tolerance):
    # 12 values a channel: biased and unbiased variance differ by 9 %.
    x = RNG.normal(5, 3, size=(2, 3, 2, 4)).astype(dtype)
    layer = built(x, dtype)
    actual = layer(x, training=True)
    out, mean, variance = expected_after_one_batch(
        x, layer.gamma.numpy(), layer.beta.numpy()
    )
    np.testing.assert_allclose(actual, out, atol=10 * tolerance)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=tolerance)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_inference_uses_the_running_statistics(dtype, tolerance):
    x = RNG.normal(size=(2, 3, 2, 4)).astype(dtype)
    layer = built(x, dtype)
    layer.moving_mean.assign([1, 2, 3, 4])
    layer.moving_variance.assign([0.5, 1, 2, 4])
    expected = (x - [1, 2, 3, 4]) / np.sqrt(np.array([0.5, 1, 2, 4]) + EPSILON)
    expected = expected * layer.gamma.numpy() + layer.beta.numpy()
    np.testing.assert_allclose(layer(x), expected, atol=10 * tolerance)
    assert layer.moving_mean.numpy().tolist() == [1, 2, 3, 4]


def test_two_replicas_see_the_statistics_of_the_global_batch():
    x = RNG.normal(5, 3, size=(4, 3, 2, 2)).astype(np.float32)
    # Replicas whose means differ, so that local statistics would be far off.
    x[2:] += 10
    # Not one of its own: exchanges of a second one in a process fail.
    strategy = make_strategy("mirrored", 2)
    with strategy.scope():
        layer = built(x)
    upstream = RNG.normal(size=x.shape).astype(np.float32)

    @tf.function
    def run(values, weights):
        def replica(values, weights):
            with tf.GradientTape() as tape:
                tape.watch(values)
                out = layer(values, training=True)
                loss = tf.reduce_sum(out * weights)
            return out, tape.gradient(loss, values)

        return strategy.run(replica, args=(values, weights))

    def split(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                np.split(array, 2)[context.replica_id_in_sync_group]
            )
        )

    results = run(split(x), split(upstream))
    out, gradient = (
        np.concatenate(
            [part.numpy() for part in strategy.experimental_local_results(r)]
        )
        for r in results
    )
    expected, mean, variance = expected_after_one_batch(
        x, layer.gamma.numpy(), layer.beta.numpy()
    )
    np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)

    # The gradient crosses replicas too: it equals that of one replica with everything.
    alone = BatchNorm()
    alone.build(x.shape)
    alone.gamma.assign(layer.gamma.numpy())
    alone.beta.assign(layer.beta.numpy())
    with tf.GradientTape() as tape:
        whole = tf.constant(x)
        tape.watch(whole)
        loss = tf.reduce_sum(alone(whole, training=True) * upstream)
    np.testing.assert_allclose(gradient, tape.gradient(loss, whole), atol=1e-4)
