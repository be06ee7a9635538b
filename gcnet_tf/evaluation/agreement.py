"""Agreement of a network with the trained model that it was made from."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from gcnet_tf.compat import use_tf32
from gcnet_tf.errors import UserError
from gcnet_tf.models import Segmentor
from gcnet_tf.models.trained import trained_function

# Largest difference, see `log_probability_difference`, of two ways to compute a network
# in float32. Measured on drawn weights: rounding makes 2e-6 (R50, Winograd's
# convolutions) to 2e-5 (MobileNets), an epsilon of 1e-3 for 1e-5 2e-3 or more.
EXACT = 2e-4
# The logarithm of the smallest probability that float32 holds.
_FLOOR = float(np.log(np.finfo(np.float32).tiny))
# Sides that are no multiple of any stride, and larger than the largest dilation.
_WINDOW = (65, 97)
_ROWS = 64


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Computes logarithms of probabilities.

    Logits are known up to one constant per pixel; these are not.

    Args:
        logits: float `(..., num_classes)`.
    """
    values = logits - logits.max(axis=-1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return values


def log_probability_difference(logits: np.ndarray, expected: np.ndarray) -> float:
    """Computes the largest difference of a logarithm of a probability.

    Probabilities below the smallest one of float32 count as that one: a file that gives
    probabilities has zeros there, whatever the logits were.

    Args:
        logits: `(height, width, num_classes)`.
        expected: those of the trained model.

    Returns:
        A share of the largest expected logarithm, or of 1 where all are smaller: so far
        float32 rounds. Infinite where only one of the two is a number.
    """
    apart, scale = 0.0, 1.0
    for start in range(0, len(logits), _ROWS):  # because full arrays are large
        rows = slice(start, start + _ROWS)
        values = log_probabilities(expected[rows])
        scale = max(scale, float(np.abs(values).max()))
        actual = np.maximum(log_probabilities(logits[rows]), _FLOOR)
        difference = np.abs(actual - np.maximum(values, _FLOOR)).max()
        apart = max(apart, np.inf if np.isnan(difference) else float(difference))
    return apart / scale


def check_fold(model: Segmentor, predict: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """Checks on one window that a folded model gives the trained model's logits.

    A model that gives no numbers, because its training failed, is not judged.

    Args:
        model: the trained model.
        predict: see `inference_function`.

    Raises:
        UserError: when it does not.
    """
    shape = (1, *_WINDOW, 3)
    window = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with exact_products():
        expected = trained_function(model)(window)[0]
        # The copy that has computed it is part of reference cycles. Without this it
        # stays beside the folded model, whose first call takes most memory.
        gc.collect()
        if not np.isfinite(expected).all():
            return
        actual = predict(tf.constant(window)).numpy()[0]
    difference = log_probability_difference(actual, expected)
    if difference > EXACT:
        raise UserError(
            "The inference form of this model, with normalisation inside the "
            "convolutions, gives other logits than the trained model: off by "
            f"{difference:.1e}, allowed {EXACT:.0e}. Its metrics, predictions and "
            "exports would be wrong. Unless a layer of yours "
            "(model.head.context_layer) answers differently each time, this is a fault "
            "of gcnet_tf or TensorFlow; please report it with the configuration."
        )


@contextmanager
def exact_products() -> Iterator[None]:
    """Turns off TF32: GPUs then round the factors of products to 10 bits."""
    was_on = tf.config.experimental.tensor_float_32_execution_enabled()
    use_tf32(False)
    try:
        yield
    finally:
        use_tf32(was_on)
