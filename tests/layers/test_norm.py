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


@pytest.fixture(scope="module")
def strategy():
    # Not one of its own: exchanges of a second one in a process fail.
    return make_strategy("mirrored", 2)


def step_of(layer, strategy):
    """Makes a function of inputs and factors on outputs to outputs and gradients."""

    @tf.function
    def run(values, factors):
        def replica(values, factors):
            weights = [tf.convert_to_tensor(w) for w in (layer.gamma, layer.beta)]
            with tf.GradientTape() as tape:
                tape.watch(values)
                out = layer(values, training=True)
                loss = tf.reduce_sum(tf.cast(out * factors, weights[0].dtype))
            sources = [values, layer.gamma, layer.beta]
            return out, *tape.gradient(loss, sources)

        return strategy.run(replica, args=(values, factors))

    return run


def split(array, strategy, dtype):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            np.split(array, 2)[context.replica_id_in_sync_group], dtype
        )
    )


def gradients_of_the_formula(x, upstream, gamma, beta):
    """Differentiates the formula over the global batch in float64."""
    values, *weights = (
        tf.constant(array.astype(np.float64)) for array in (x, gamma, beta)
    )
    with tf.GradientTape() as tape:
        tape.watch([values, *weights])
        mean = tf.reduce_mean(values, [0, 1, 2])
        variance = tf.reduce_mean((values - mean) ** 2, [0, 1, 2])
        out = (values - mean) / tf.sqrt(variance + EPSILON) * weights[0] + weights[1]
        loss = tf.reduce_sum(out * upstream)
    return tape.gradient(loss, [values, *weights])


# Values of 16 bits have relative errors of 2^-9 or 2^-11; the largest are below 8.
@pytest.mark.parametrize(
    "policy, dtype, tolerance",
    [
        ("float32", tf.float32, 1e-4),
        ("float64", tf.float64, 1e-11),
        ("mixed_bfloat16", tf.bfloat16, 8 * 2**-8),
        ("mixed_float16", tf.float16, 8 * 2**-10),
    ],
)
def test_two_replicas_see_the_global_batch(strategy, policy, dtype, tolerance):
    """Outputs, statistics and gradients, which cross replicas, too."""
    x = RNG.normal(5, 3, size=(4, 3, 2, 2))
    # Replicas whose means differ, so that local statistics would be far off.
    x[2:] += 10
    upstream = RNG.normal(size=x.shape)
    # As the layer sees them.
    x, upstream = (tf.cast(a, dtype).numpy().astype(np.float64) for a in (x, upstream))
    with strategy.scope():
        layer = built(x, policy)
    run = step_of(layer, strategy)
    results = run(split(x, strategy, dtype), split(upstream, strategy, dtype))
    out, *gradients = (
        [part.numpy() for part in strategy.experimental_local_results(result)]
        for result in results
    )
    assert out[0].dtype == dtype.as_numpy_dtype
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    expected, mean, variance = expected_after_one_batch(x, gamma, beta)
    np.testing.assert_allclose(
        np.concatenate(out).astype(np.float64), expected, atol=tolerance
    )
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)
    of_inputs, *of_weights = gradients_of_the_formula(x, upstream, gamma, beta)
    np.testing.assert_allclose(
        np.concatenate(gradients[0]).astype(np.float64), of_inputs, atol=tolerance
    )
    for parts, whole in zip(gradients[1:], of_weights):
        # The optimiser adds up those of the replicas.
        np.testing.assert_allclose(sum(parts), whole, atol=10 * tolerance)


def test_one_value_on_each_replica(strategy):
    x = np.array([3.0, 5.0], np.float32).reshape(2, 1, 1, 1)
    with strategy.scope():
        layer = built(x)
    run = step_of(layer, strategy)
    out = run(*(split(a, strategy, tf.float32) for a in (x, np.ones_like(x))))[0]
    parts = [part.numpy().item() for part in strategy.experimental_local_results(out)]
    gamma, beta = layer.gamma.numpy()[0], layer.beta.numpy()[0]
    np.testing.assert_allclose(parts, [beta - gamma, beta + gamma], rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [0.9 + 0.1 * 2], 1e-5)


def test_one_exchange_forward_and_one_backward(strategy):
    """Between machines each takes the network's latency, in every layer."""
    x = np.zeros((2, 3, 2, 4), np.float32)
    with strategy.scope():
        layer = built(x)
    values = split(x, strategy, tf.float32)
    graph = step_of(layer, strategy).get_concrete_function(values, values).graph
    exchanges = [op for op in graph.get_operations() if "Collective" in op.type]
    reduces = [op for op in exchanges if op.type.startswith("CollectiveReduce")]
    of_one_replica = len(reduces) / strategy.num_replicas_in_sync
    assert of_one_replica == 2, {op.type for op in exchanges}


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16])
def test_only_fused_operations_see_large_tensors(strategy, dtype):
    """Unfused ones doubled memory and time as soon as there were two replicas."""
    policy = "float32" if dtype == tf.float32 else f"mixed_{dtype.name}"
    shape = (4, 16, 16, 3)
    with strategy.scope():
        layer = built(np.zeros(shape), policy)

    @tf.function
    def run(values):
        def replica(values):
            # The gradient with respect to outputs is the outputs: no more operations.
            with tf.GradientTape() as tape:
                tape.watch(values)
                out = layer(values, training=True)
            return tape.gradient(out, values, output_gradients=out)

        return strategy.run(replica, args=(values,))

    graph = run.get_concrete_function(split(np.zeros(shape), strategy, dtype)).graph
    large = {
        op.type
        for op in graph.get_operations()
        for tensor in op.outputs
        # What nobody reads is not computed.
        if tensor.shape.rank == 4 and tensor.consumers()
    }
    fused = {"FusedBatchNormV3", "FusedBatchNormGradV3"}
    assert fused <= large <= fused | {"Placeholder", "Identity", "IdentityN", "AddV2"}
