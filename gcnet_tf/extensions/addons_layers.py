"""Layers that use tensorflow-addons, for configurations that import this module."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from gcnet_tf.compat import without_farewell

with without_farewell():
    import tensorflow_addons as tfa

# Makes these random numbers differ from those that the pipeline draws from the same
# seed.
_STREAM = 9


@keras.saving.register_keras_serializable("gcnet_tf")
class AddonsColours(keras.layers.Layer):
    """An augmentation: random hue, saturation and value in YIQ, and random sharpness.

    It is made for augment.layer. In YIQ the first three are one matrix: half the work
    of augment.photometric_distortion, which repeats the reference's steps in HSV to the
    last bit and has no sharpness.

    Args:
        hue: largest rotation, in radians.
        saturation: [lowest, highest] factor.
        value: [lowest, highest] factor.
        sharpness: [lowest, highest] factor; 0 blurs the image, 1 leaves it unchanged.
            None for no change of sharpness.
    """

    def __init__(
        self,
        hue: float = 0.3,
        saturation: Sequence[float] = (0.5, 1.5),
        value: Sequence[float] = (0.7, 1.3),
        sharpness: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hue = hue
        self.saturation = list(saturation)
        self.value = list(value)
        self.sharpness = None if sharpness is None else list(sharpness)

    def call(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Changes each image by its own seed.

        Args:
            images: uint8 RGB `(batch, height, width, 3)`.
            seeds: int32 `(batch, 2)`.

        Returns:
            uint8 RGB of the same shape.
        """
        image = tf.TensorSpec(images.shape[1:], tf.uint8)
        return tf.map_fn(self._changed, (images, seeds), fn_output_signature=image)

    def _changed(self, image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, seed = image_and_seed
        seed = tf.random.experimental.stateless_fold_in(seed, _STREAM)
        draws = tf.unstack(tf.random.stateless_uniform((4,), seed))
        changed = tfa.image.adjust_hsv_in_yiq(
            tf.cast(image, tf.float32),
            _between([-self.hue, self.hue], draws[0]),
            _between(self.saturation, draws[1]),
            _between(self.value, draws[2]),
        )
        changed = _to_uint8(changed)
        if self.sharpness is not None:
            # The function takes no tensor as its factor, so 0 blurs fully here.
            blurred = tf.cast(tfa.image.sharpness(changed, 0.0), tf.float32)
            details = tf.cast(changed, tf.float32) - blurred
            changed = _to_uint8(blurred + details * _between(self.sharpness, draws[3]))
        return tf.ensure_shape(changed, image.shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hue": self.hue,
            "saturation": self.saturation,
            "value": self.value,
            "sharpness": self.sharpness,
        }


def _to_uint8(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), tf.uint8)


def _between(bounds: Sequence[float], share: tf.Tensor) -> tf.Tensor:
    low, high = bounds
    return low + (high - low) * share
