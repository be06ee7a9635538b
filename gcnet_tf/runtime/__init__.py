"""Exported models without TensorFlow: numpy and one interpreter.

from gcnet_tf.runtime import Predictor
labels = Predictor("model_int8.tflite")(image)
"""

from gcnet_tf.runtime.predictor import Predictor, open_network

__all__ = ["Predictor", "open_network"]
