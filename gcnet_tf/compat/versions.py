"""The stack: the version of Keras, and whether it can have tensorflow-addons."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import keras

KERAS_3 = int(keras.__version__.split(".")[0]) >= 3

# From TensorFlow 2.16 on, tensorflow-addons cannot be imported.
MAY_HAVE_ADDONS = not KERAS_3


@contextmanager
def without_farewell() -> Iterator[None]:
    """Hides the warning of tensorflow-addons, on import, about its end of life.

    Users who name it in a configuration have chosen the stack that exists for it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*TensorFlow Addons \(TFA\) has ended")
        yield
