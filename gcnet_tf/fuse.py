"""The inference graph: normalisation folded into convolutions, weights frozen.

Evaluation, prediction and export share it. On a CPU it is about twice as fast as the
training model, and only folding *and* freezing together are: one alone gains nothing.
"""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from gcnet_tf.layers.norm import EPSILON
from gcnet_tf.models import Segmentor
from gcnet_tf.weights import weights_by_path


def fold(model: Segmentor) -> Segmentor:
    """Returns a copy of `model` for inference, in float32.

    Each batch normalisation becomes part of the convolution before it, and the
    auxiliary head is gone. Outputs equal those of `model` up to rounding.
    """
    arguments = {**model.get_config(), "auxiliary": None, "folded": True}
    folded = Segmentor.from_config({**arguments, "dtype": "float32"})
    folded.build((None, None, None, 3))
    source = weights_by_path(model)
    for path, weight in weights_by_path(folded).items():
        unit = path.removesuffix("conv/kernel").removesuffix("conv/bias")
        norm = unit + "norm/"
        if unit == path or norm + "gamma" not in source:
            weight.assign(source[path])
            continue
        scale = tf.convert_to_tensor(source[norm + "gamma"]) * tf.math.rsqrt(
            tf.convert_to_tensor(source[norm + "moving_variance"]) + EPSILON
        )
        if path.endswith("kernel"):
            weight.assign(tf.convert_to_tensor(source[path]) * scale)
        else:
            weight.assign(
                tf.convert_to_tensor(source[norm + "beta"])
                - tf.convert_to_tensor(source[norm + "moving_mean"]) * scale
            )
    return folded


def freeze(
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]], signature: tf.TensorSpec
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Traces `function` for `signature` and turns its variables into constants."""
    traced = tf.function(function, input_signature=[signature]).get_concrete_function()
    names = sorted(traced.structured_outputs)
    frozen = convert_variables_to_constants_v2(traced)

    def call(images):
        # A frozen function returns its outputs as a list, sorted by name.
        return dict(zip(names, tf.nest.flatten(frozen(tf.convert_to_tensor(images)))))

    return call


def inference_function(model: Segmentor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Folds and freezes `model`.

    Returns a function from uint8 RGB `(batch, height, width, 3)` of any size to
    float32 logits `(batch, height, width, num_classes)`. It keeps the weights of this
    moment: later training of `model` does not reach it.
    """
    folded = fold(model)
    frozen = freeze(
        lambda images: folded(images), tf.TensorSpec([None, None, None, 3], tf.uint8)
    )
    return lambda images: frozen(images)["logits"]
