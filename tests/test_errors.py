"""Texts of errors inside our own sentences."""

import re

import keras
import pytest
import tensorflow as tf

from gcnet_tf.errors import first_line


@pytest.mark.parametrize(
    "text, line",
    [
        ("a\nb", "a"),
        ("", "ValueError"),
        ("x" * 300, "x" * 300),
        ("x" * 999, "x" * 300 + "…"),
    ],
)
def test_the_first_line_is_short(text, line):
    assert first_line(ValueError(text)) == line


class Refusing(keras.layers.Layer):
    """Multiplies by a matrix of another size."""

    def call(self, inputs):
        return tf.matmul(inputs, tf.zeros([7, 7]))


class Around(keras.layers.Layer):
    """Holds a layer that fails."""

    def __init__(self):
        super().__init__()
        self.inner = Refusing()

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.parametrize("layer_class", [Refusing, Around])
def test_the_first_line_is_the_reason_and_not_keras(layer_class):
    for call, reason in (
        (
            layer_class(),
            r"Matrix size-incompatible: In\[0\]: \[2,3\], In\[1\]: \[7,7\]",
        ),
        (
            tf.function(layer_class()),
            "(ValueError: )?Dimensions must be equal.* 3 and 7",
        ),
        (
            tf.function(lambda x: layer_class()(x)),
            "(ValueError: )?Dimensions must be equal.* 3 and 7",
        ),
    ):
        with pytest.raises((ValueError, tf.errors.OpError)) as raised:
            call(tf.zeros([2, 3]))
        assert "\n" in str(raised.value)
        assert re.match(reason, first_line(raised.value))
