"""Channel dropout whose masks are a pure function of each sample's seed."""

from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.layers.convolution.conv import Shape


@keras.saving.register_keras_serializable("gcnet_tf")
class ChannelDropout(keras.layers.Layer):
    """Drops whole channels of a sample in training (PyTorch's Dropout2d).

    Survivors are scaled by 1 / (1 - rate). Given seeds, a sample's mask depends on its
    own seed alone: a resumed run repeats it, and so does any number of replicas. (Keras
    keeps a hidden counter instead, which neither would reproduce.)

    Args:
        rate: probability of dropping a channel, in [0, 1).
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: Shape) -> None:
        self.built = True

    def call(
        self,
        inputs: tf.Tensor,
        seeds: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Drops channels of `inputs` `(batch, height, width, channels)`.

        Args:
            inputs: features.
            seeds: int `(batch, 2)`, or None for TensorFlow's global generator.
            training: nothing is dropped unless True.
        """
        if not training or self.rate == 0:
            return inputs
        num_samples, num_channels = tf.shape(inputs)[0], inputs.shape[-1]
        if seeds is None:
            uniform = tf.random.uniform(
                [num_samples, num_channels]
            )  # (batch, channels)
        else:
            uniform = _uniform_by_seed(seeds, num_channels)  # (batch, channels)
        kept = tf.cast(uniform >= self.rate, inputs.dtype) / (1.0 - self.rate)
        return inputs * kept[:, tf.newaxis, tf.newaxis, :]  # (batch, 1, 1, channels)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


def _uniform_by_seed(seeds: tf.Tensor, num: int) -> tf.Tensor:
    """Draws numbers in [0, 1) `(batch, num)`, a row from each seed `(batch, 2)`."""

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([num], seed)

    if seeds.shape[0] is None:
        row = tf.TensorSpec([num], tf.float32)
        return tf.map_fn(draw, seeds, fn_output_signature=row)
    # Training knows the size of its batches. Without the loop of `map_fn`, which asks
    # the host after each sample whether there is another one, all are drawn at once.
    return tf.stack([draw(seed) for seed in tf.unstack(seeds)])
