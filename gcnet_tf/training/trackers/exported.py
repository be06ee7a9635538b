"""Files that are made of a run after its training, for the run at its tracker."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.extensions.named import make
from gcnet_tf.training.monitor.run_folder import CONFIG_FILE
from gcnet_tf.training.trackers import TRACKERS
from gcnet_tf.training.trackers.tracker import Tracker


def trackers_of(run: Path) -> list[Tracker]:
    """Makes the trackers that have followed the training of a run.

    Raises:
        UserError: when there are none, or a package is missing.
    """
    trackers = {name: cls() for name, cls in TRACKERS.items()}
    if (run / CONFIG_FILE).is_file():
        for named in load_config(run / CONFIG_FILE).train.callbacks:
            if named.class_name in TRACKERS:
                made = make("callback", asdict(named), "train.callbacks")
                trackers[named.class_name] = made
    known = [tracker for tracker in trackers.values() if tracker.is_known_to(run)]
    if not known:
        raise UserError(
            f"No tracker has followed the training of {run}; allowed: a run folder "
            "that was trained, or resumed, with "
            f"train.callbacks={' or '.join(TRACKERS)}."
        )
    for tracker in known:
        tracker.require_package(str(run))
    return known


def add_to_trackers(run: Path, paths: Sequence[Path], folder: str) -> None:
    """Sends files and folders to the trackers of a run.

    Raises:
        UserError: when a tracker cannot be reached.
    """
    for tracker in trackers_of(run):
        tracker.attach(run)
        tracker.send_files(paths, folder)
