"""The three lines of Python: a model by its name, images in, results out."""

from gcnet_tf.api.model import Model, load
from gcnet_tf.api.result import Result

__all__ = ["Model", "Result", "load"]
