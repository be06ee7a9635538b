"""MLflow, whose server or local store the variable MLFLOW_TRACKING_URI names."""

import io
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcnet_tf.training.trackers.shown import Shown
from gcnet_tf.training.trackers.tracker import Tracker

# MLflow's limits: items of a call, letters of a setting, and of names.
_MOST_PARAMS, _MOST_METRICS, _LONGEST = 100, 1000, 6000
_NOT_IN_NAMES = re.compile(r"[^/\w.\- :]")


class MLflow(Tracker):
    """Sends a training to MLflow.

    Args:
        experiment: the experiment, which is made if missing.
    """

    name, module = "mlflow", "mlflow"

    def __init__(self, experiment: str = "gcnet_tf"):
        super().__init__()
        self.experiment = experiment

    def open(self, run: Path, key: str | None, settings: dict[str, Any]) -> str:
        tracking = import_module("mlflow.tracking")
        entities = import_module("mlflow.entities")
        # No run is active in the process: people may have their own.
        self._client = tracking.MlflowClient()
        self._metric = entities.Metric
        if key is not None:
            self._client.update_run(key, "RUNNING")
            self._id = key
            return key
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(self.experiment)
        )
        self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
        params = [
            entities.Param(_name(name), str(value)[:_LONGEST])
            for name, value in settings.items()
        ]
        for start in range(0, len(params), _MOST_PARAMS):
            part = params[start : start + _MOST_PARAMS]
            self._client.log_batch(self._id, params=part)
        return self._id

    def send(self, shown: Sequence[Shown]) -> None:
        metrics = [
            self._metric(_name(tag), value, int(seconds * 1000), step)
            for tag, step, seconds, value in shown
            if not isinstance(value, bytes)
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            part = metrics[start : start + _MOST_METRICS]
            self._client.log_batch(self._id, metrics=part)
        for item in shown:
            if isinstance(item.value, bytes):
                picture = np.asarray(Image.open(io.BytesIO(item.value)))
                key, step = _name(item.tag), item.step
                self._client.log_image(
                    self._id, picture, key=key, step=step, synchronous=True
                )

    def add_files(self, paths: Sequence[Path], folder: str) -> None:
        for path in paths:
            if path.is_dir():
                self._client.log_artifacts(self._id, str(path), f"{folder}/{path.name}")
            else:
                self._client.log_artifact(self._id, str(path), folder)

    def end(self) -> None:
        self._client.set_terminated(self._id)


def _name(tag: str) -> str:
    """Returns a name that MLflow accepts: letters, digits, and /_-.: with spaces."""
    return _NOT_IN_NAMES.sub("_", tag)
