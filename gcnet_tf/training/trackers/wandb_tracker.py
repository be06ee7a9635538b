"""Weights & Biases, which its login, or WANDB_MODE=offline, sets up."""

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from gcnet_tf.training.trackers.shown import Shown
from gcnet_tf.training.trackers.tracker import Tracker


class WandB(Tracker):
    """Sends a training to Weights & Biases.

    Args:
        project: the project, which is made if missing.
    """

    name, module = "wandb", "wandb"

    def __init__(self, project: str = "gcnet_tf"):
        super().__init__()
        self.project = project

    def open(self, run: Path, key: str | None, settings: dict[str, Any]) -> str:
        self._wandb = import_module("wandb")
        self._tracked = self._wandb.init(
            project=self.project,
            id=key,
            resume="allow",
            name=run.name,
            dir=str(run),
            # The log is sent as a file; lines of a progress bar are not for reading.
            settings=self._wandb.Settings(console="off", x_disable_stats=True),
        )
        # A resumed run may have other settings, such as more iterations.
        self._tracked.config.update(settings, allow_val_change=True)
        # Its own steps must grow, and a resumed run may begin with an evaluation.
        self._tracked.define_metric("iteration")
        self._tracked.define_metric("*", step_metric="iteration")
        return self._tracked.id

    def send(self, shown: Sequence[Shown]) -> None:
        for step in sorted({item.step for item in shown}):
            values = {
                item.tag: self._value(item.value) for item in shown if item.step == step
            }
            self._tracked.log({"iteration": step, **values})

    def _value(self, value: float | bytes) -> Any:
        if isinstance(value, bytes):
            return self._wandb.Image(Image.open(io.BytesIO(value)))
        return value

    def add_files(self, paths: Sequence[Path], folder: str) -> None:
        artifact = self._wandb.Artifact(f"{folder}-{self._tracked.id}", type="model")
        for path in paths:
            if path.is_dir():
                artifact.add_dir(str(path), name=path.name)
            else:
                artifact.add_file(str(path))
        self._tracked.log_artifact(artifact)

    def end(self) -> None:
        self._tracked.finish()
