"""Readers of run folders, and callbacks that intervene in a training."""

import json
from pathlib import Path

import keras

from gcnet_tf.models import build_model
from gcnet_tf.weights.files import (
    WEIGHTS_FILE,
    list_checkpoints,
    load_weights,
    weights_by_path,
)


def records(run: Path, kind: str) -> list[dict]:
    """Reads the lines of metrics.jsonl of a kind, such as "train" or "val"."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def values_of(model) -> dict:
    """Returns the values of the weights by path."""
    return {path: weight.numpy() for path, weight in weights_by_path(model).items()}


def final_weights(config, run: Path) -> dict:
    """Returns the weights of the newest checkpoint, by path."""
    model = build_model(config)
    load_weights(model, list_checkpoints(run)[-1] / WEIGHTS_FILE)
    return values_of(model)


class Do(keras.callbacks.Callback):
    """A callback that acts on the model after an iteration, and records epochs."""

    def __init__(self, iteration, action):
        super().__init__()
        self.iteration, self.action = iteration, action
        self.epochs = []

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.iteration:
            self.action(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs))


def stop(model):
    """Ends the training of a model."""
    model.stop_training = True
