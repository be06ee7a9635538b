"""Exported models without TensorFlow: numpy and one interpreter.

from gcnet_tf.runtime import Predictor
labels = Predictor("model_int8.tflite")(image)
"""

import sys

if sys.argv[:1] == ["-m"] and __name__ in sys.orig_argv and not sys.flags.safe_path:
    # `python -m` looks for modules in the working folder first, and that may be a
    # stranger's.
    del sys.path[0]

from gcnet_tf.runtime.predictor import Predictor, open_network

__all__ = ["Predictor", "open_network"]
