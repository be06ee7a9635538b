"""The callback that all trackers share: what is sent, when, and what a restart does."""

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras

from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.atomic import write_text
from gcnet_tf.training.monitor.run_folder import CONFIG_FILE, VERSIONS_FILE, flat
from gcnet_tf.training.trackers.shown import Shown, ShownSoFar
from gcnet_tf.weights.files import BEST_METRICS, BEST_WEIGHTS

# What the tracker gets at the end, where it is there.
_FILES = (CONFIG_FILE, VERSIONS_FILE, BEST_WEIGHTS, BEST_METRICS, "train.log")


class Tracker(keras.callbacks.Callback):
    """Sends a training to a tracker of experiments.

    Settings and versions go there at the start, all values and panels of TensorBoard
    while it trains, the best weights and the log at the end. A run that is resumed goes
    on in the same place, without sending anything twice; one that gets its tracker only
    then sends what was there before, too.

    A tracker that cannot be reached at the start is an error. Later, a warning says so,
    and what is missing is sent with the next values. Of several workers, only the chief
    sends.
    """

    # The name of the state in the run folder, and of the extra.
    name: str
    # The module that it needs.
    module: str

    def __init__(self) -> None:
        super().__init__()
        self._run: Path | None = None
        self._sent: dict[str, int] = {}
        self._pending: list[Shown] = []
        self._warned = False

    # A subclass writes these.

    def open(self, run: Path, key: str | None, settings: dict[str, Any]) -> str:
        """Starts a run of the tracker, or goes on with the one that has a key.

        Args:
            run: the run folder, whose name names it.
            key: what `open` has returned before; None for a new one.
            settings: all settings and versions by their dotted path.

        Returns:
            The key of the run at the tracker.
        """
        raise NotImplementedError

    def send(self, shown: Sequence[Shown]) -> None:
        """Sends values and pictures."""
        raise NotImplementedError

    def add_files(self, paths: Sequence[Path], folder: str) -> None:
        """Sends files and folders, to a folder of the tracker."""
        raise NotImplementedError

    def end(self) -> None:
        """Ends the run at the tracker; a resumed training opens it again."""
        raise NotImplementedError

    # What all do alike.

    def require_package(self, place: str) -> None:
        """Checks that the tracker's package is installed.

        Raises:
            UserError: when it is not.
        """
        if find_spec(self.module) is None:
            raise UserError(
                f"{place}: {type(self).__name__} needs the package {self.module}: "
                f'pip install "gcnet_tf[{self.name}]"'
            )

    def is_known_to(self, run: Path) -> bool:
        """Tells whether this tracker has a run for the run folder."""
        return self._state_file(run).is_file()

    def attach(self, run: Path) -> None:
        """Opens the tracker's run of a run folder, a new one if there is none.

        Raises:
            UserError: when the tracker cannot be reached, or does not know the run.
        """
        key = None
        if self.is_known_to(run):
            state = json.loads(self._state_file(run).read_text(encoding="utf-8"))
            key, self._sent = state["key"], state["sent"]
        versions = json.loads((run / VERSIONS_FILE).read_text(encoding="utf-8"))
        config = config_to_dict(load_config(run / CONFIG_FILE))
        settings = {**flat(config), **flat(versions, "versions.")}
        try:
            self._key = self.open(run, key, settings)
        # Packages of trackers have many errors of their own.
        except Exception as error:
            raise UserError(
                f"{type(self).__name__} cannot be reached: {first_line(error)}. Check "
                "its address and the login, or leave it out of train.callbacks."
            ) from error
        self._run, self._every = run, config["train"]["log_every"]
        self._shown = ShownSoFar(run / "logs")
        self._save()

    def send_files(self, paths: Sequence[Path], folder: str) -> None:
        """Sends files to the run of `attach`, and ends it there.

        Raises:
            UserError: when the tracker does not take them.
        """
        try:
            self.add_files(paths, folder)
            self.end()
        except Exception as error:
            raise UserError(
                f"{type(self).__name__} does not take the files: {first_line(error)}."
            ) from error

    def on_train_begin(self, logs: Any = None) -> None:
        if self.params.get("run"):  # the chief's
            self.attach(Path(self.params["run"]))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Reports come after this call: here, that of the iteration before.
        if self._run and batch % self._every == 0:
            self._send_new()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._run:
            self._send_new()

    def on_train_end(self, logs: Any = None) -> None:
        if not self._run:
            return
        self._send_new()
        paths = [self._run / name for name in _FILES]
        self._trying(
            lambda: self.add_files([path for path in paths if path.exists()], "run")
        )
        self._trying(self.end)

    def _send_new(self) -> None:
        for item in self._shown.read():
            # A resumed run computes again what came after its checkpoint.
            if item.step > self._sent.get(item.tag, -1):
                self._pending.append(item)
                self._sent[item.tag] = item.step
        if self._pending and self._trying(lambda: self.send(self._pending)):
            self._pending = []
            self._save()

    def _trying(self, action: Any) -> bool:
        """Does something that must not end a training; tells whether it worked."""
        try:
            action()
            return True
        except Exception as error:
            if not self._warned:
                warnings.warn(
                    f"{type(self).__name__}: {first_line(error)}. The training goes "
                    "on; its values are sent later, and stay in the run folder.",
                    stacklevel=2,
                )
            self._warned = True
            return False

    def _state_file(self, run: Path) -> Path:
        return run / f"{self.name}.json"

    def _save(self) -> None:
        assert self._run is not None
        state = {"key": self._key, "sent": self._sent}
        write_text(self._state_file(self._run), json.dumps(state, indent=2) + "\n")
