"""Trackers of experiments: MLflow and Weights & Biases, by one word.

`train.callbacks=MLflow`, and as a callback in Python.
"""

import keras

from gcnet_tf.training.trackers.mlflow_tracker import MLflow
from gcnet_tf.training.trackers.tracker import Tracker
from gcnet_tf.training.trackers.wandb_tracker import WandB

__all__ = ["TRACKERS", "MLflow", "Tracker", "WandB"]

TRACKERS: dict[str, type[Tracker]] = {"MLflow": MLflow, "WandB": WandB}

# As a module of custom_imports registers its classes.
keras.saving.get_custom_objects().update(TRACKERS)
