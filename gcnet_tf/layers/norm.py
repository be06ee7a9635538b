"""Batch normalisation that equals PyTorch's, on one replica or on many."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import first_replicas_value, unchanging_dtype
from gcnet_tf.layers.convolution.conv import Shape

MOMENTUM = 0.9
EPSILON = 1e-5


@keras.saving.register_keras_serializable("gcnet_tf")
class BatchNorm(keras.layers.Layer):
    """Batch normalisation over `(batch, height, width)`, synchronised over replicas.

    Input and output `(batch, height, width, channels)`.

    Equals PyTorch's BatchNorm2d/SyncBatchNorm: running statistics moved by a tenth,
    normalisation by the biased variance, and a running variance that takes the
    *unbiased* one (Keras 3's own layer stores the biased one). It is TensorFlow's fused
    operation, also over replicas, which Keras 3's layer is not: an R50 training step on
    a CPU is 10 % faster with it. Always float32 inside (float64 under a float64
    policy).

    Args:
        gamma_initializer: initializer of the scale.
        epsilon: added to the variance; PyTorch's by default.
    """

    def __init__(
        self,
        gamma_initializer: Any = "ones",
        epsilon: float = EPSILON,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        shape = (input_shape[-1],)
        self.gamma = self._add("gamma", shape, self.gamma_initializer)
        self.beta = self._add("beta", shape, "zeros")
        self.moving_mean = self._add("moving_mean", shape, "zeros", running=True)
        self.moving_variance = self._add("moving_variance", shape, "ones", running=True)
        self.built = True

    def _add(
        self, name: str, shape: Shape, initializer: Any, running: bool = False
    ) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            trainable=not running,
            **unchanging_dtype(),
            # A replica may not write a mirrored variable without an aggregation; all
            # compute the same running statistics, so the first one's will do.
            **(first_replicas_value() if running else {}),
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return self._normalise_by_running_statistics(inputs)
        gamma, beta = map(tf.convert_to_tensor, (self.gamma, self.beta))
        num_replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        if inputs.dtype == tf.float64:
            outputs, mean, variance = self._normalise_in_float64(inputs)
        elif num_replicas > 1:
            outputs, mean, variance = _fused_over_replicas(
                inputs, gamma, beta, self.epsilon
            )
        else:
            outputs, mean, variance = _fused(inputs, gamma, beta, self.epsilon)
        self._update(self.moving_mean, mean)
        self._update(self.moving_variance, variance)
        return outputs

    def _normalise_by_running_statistics(self, inputs: tf.Tensor) -> tf.Tensor:
        if inputs.dtype == tf.float64:
            return tf.nn.batch_normalization(
                inputs,
                self.moving_mean,
                self.moving_variance,
                self.beta,
                self.gamma,
                self.epsilon,
            )
        return _fused_by(
            inputs,
            self.gamma,
            self.beta,
            self.moving_mean,
            self.moving_variance,
            self.epsilon,
        )

    def _normalise_in_float64(
        self, inputs: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes what `_fused_over_replicas` does, for which it has no kernel."""
        mean, variance = _over_replicas(*tf.nn.moments(inputs, axes=[0, 1, 2]))
        outputs = tf.nn.batch_normalization(
            inputs, mean, variance, self.beta, self.gamma, self.epsilon
        )
        return outputs, mean, _unbiased(variance, _global_count(inputs, mean.dtype))

    def _update(self, running: Any, value: tf.Tensor) -> None:
        running.assign(MOMENTUM * running + (1.0 - MOMENTUM) * value)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "epsilon": self.epsilon,
        }


def _fused(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the batch of this replica.

    Returns:
        Outputs as `inputs`, mean and unbiased variance `(channels,)`.
    """
    # exponential_avg_factor 1 returns the statistics of the batch.
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=tf.zeros_like(gamma),
        variance=tf.ones_like(gamma),
        epsilon=epsilon,
        exponential_avg_factor=1.0,
        is_training=True,
    )
    return outputs, mean, variance


def _fused_by(
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """Normalises by given statistics."""
    outputs, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    )
    return outputs


def _fused_over_replicas(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises by the global batch; replicas hold equally many samples.

    All that is as large as the inputs goes through fused operations, forwards and
    backwards, and for the gradient only the inputs themselves are kept.

    Returns:
        As `_fused`.
    """

    @tf.custom_gradient
    def function(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        local_count = _count(inputs, gamma.dtype)
        _, local_mean, local_unbiased = _fused(inputs, gamma, beta, epsilon)
        # Of a single value the unbiased variance may be anything, the biased one is 0.
        local_variance = tf.math.multiply_no_nan(
            local_unbiased, (local_count - 1) / local_count
        )
        mean, variance = _over_replicas(local_mean, local_variance)
        outputs = _fused_by(inputs, gamma, beta, mean, variance, epsilon)
        unbiased = _unbiased(variance, _global_count(inputs, gamma.dtype))

        def gradient(upstream: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # As if the statistics were constants.
            direct, gamma_gradient, beta_gradient, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=inputs,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
                is_training=False,
            )
            # And through them, which depend on the inputs of all replicas.
            replica = tf.distribute.get_replica_context()
            sums = tf.stack([gamma_gradient, beta_gradient])  # one exchange for both
            means = replica.all_reduce("MEAN", sums / local_count)
            scale = -gamma * tf.math.rsqrt(variance + epsilon)
            through = _fused_by(
                inputs, scale * means[0], scale * means[1], mean, variance, epsilon
            )
            return direct + through, gamma_gradient, beta_gradient

        return (outputs, mean, unbiased), gradient

    return function(inputs, gamma, beta)


def _over_replicas(
    local_mean: tf.Tensor, local_variance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes mean and biased variance of the global batch, `(channels,)` each.

    Mean of the variances plus variance of the means: unlike E[x^2] - E[x]^2 over all
    values it loses no digits when the mean is large. It takes one exchange, in which
    every replica fills a row of its own that the others leave zero (TensorFlow's
    `all_gather` makes two, because it asks for the shapes before).
    """
    replica = tf.distribute.get_replica_context()
    before = replica.replica_id_in_sync_group
    behind = replica.num_replicas_in_sync - 1 - before
    own = tf.stack([local_mean, local_variance])[tf.newaxis]  # (1, 2, channels)
    rows = tf.pad(own, [[before, behind], [0, 0], [0, 0]])  # (replicas, 2, channels)
    means, variances = tf.unstack(replica.all_reduce("SUM", rows), axis=1)
    mean = tf.reduce_mean(means, axis=0)
    spreads = tf.math.squared_difference(means, mean)
    return mean, tf.reduce_mean(variances + spreads, axis=0)


def _count(inputs: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Counts the values of a channel in this replica."""
    return tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), dtype)


def _global_count(inputs: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    return _count(inputs, dtype) * replica.num_replicas_in_sync


def _unbiased(variance: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return variance * count / tf.maximum(count - 1, 1)
