"""Searches three settings with Optuna, and stops trials that fall behind.

pip install optuna
python examples/search.py 10 train.iterations=300 train.evaluate_every=100

The arguments are the number of trials and settings that all of them share. Every trial
is a run of its own in runs/search, and `train --resume` goes on with it.
"""

import sys

import keras
import optuna

import gcnet_tf


class Report(keras.callbacks.Callback):
    """Tells Optuna each evaluation's mIoU, and stops a trial that falls behind."""

    def __init__(self, trial: optuna.Trial):
        super().__init__()
        self.trial, self.best = trial, 0.0

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.best = max(self.best, logs["val_mIoU"])
        self.trial.report(logs["val_mIoU"], epoch)
        self.model.stop_training = self.trial.should_prune()


def objective(trial: optuna.Trial) -> float:
    settings = {
        "train.learning_rate": trial.suggest_float("rate", 0.01, 0.3, log=True),
        "train.weight_decay": trial.suggest_float("decay", 1e-5, 1e-2, log=True),
        "model.head.context.block": trial.suggest_categorical("block", ["gc", "none"]),
    }
    chosen = [f"{name}={value}" for name, value in settings.items()]
    config = gcnet_tf.load_config("shapes_r18", [*sys.argv[2:], *chosen])
    report = Report(trial)
    gcnet_tf.train(config, f"runs/search/trial_{trial.number}", callbacks=[report])
    return report.best


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=int(sys.argv[1]))
    print(f"Best mIoU {study.best_value:.4f} with {study.best_params}")
