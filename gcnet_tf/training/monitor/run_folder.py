"""The run folder, which is made once, recognised on resume and never overwritten."""

import platform
from collections.abc import Mapping
from pathlib import Path

from gcnet_tf.config import Config, config_to_dict, format_json, load_config
from gcnet_tf.errors import UserError
from gcnet_tf.extensions.classes import is_named
from gcnet_tf.files.atomic import PARTIAL, write_text
from gcnet_tf.files.checksum import sealed
from gcnet_tf.files.lock import LOCK_FILE
from gcnet_tf.files.names import quoted
from gcnet_tf.files.versions import package_versions

CONFIG_FILE = "config.json"
VERSIONS_FILE = "versions.json"
PACKAGES = ("gcnet_tf", "tensorflow", "keras", "numpy", "opencv-python-headless")

# Settings that a resumed run may change. They alter outputs, paths or the initial
# weights of a new run, but never the weights of a resumed run. (A callback might; but
# one that fails must not be the end of its run.)
FREE_SETTINGS = {
    "model.backbone.pretrained",
    "train.init_from",
    "train.init_ema",
    "data.root",
    "data.records",
    "data.check",
    "data.on_changed_source",
    "data.on_error",
    "train.early_stopping",
    "train.callbacks",
    "train.log_every",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.panels",
    "train.strategy",
    "train.logical_cpus",
    "train.join_timeout",
}

# A run may become longer, and the training says what this does to the learning rate.
_LENGTH = "train.iterations"


def check_run(
    run: Path, config: Config, resume: bool, may_be_longer: bool = True
) -> None:
    """Checks that a run can start or resume in a folder; writes nothing.

    Args:
        run: the run folder.
        config: the configuration.
        resume: whether the run goes on.
        may_be_longer: whether it may go on with a larger `train.iterations`.

    Raises:
        UserError: when the folder is in use and `resume` is False, when there is
            nothing to resume, or when the run was started with other settings.
    """
    if resume:
        if not (run / CONFIG_FILE).is_file():
            raise UserError(
                f"Nothing to resume in {run}: it holds no {CONFIG_FILE}. Leave out "
                "--resume to start a new run there."
            )
        _check_same_settings(run, config, may_be_longer)
    elif run.exists() and not _is_unused(run):
        raise UserError(
            f"{run} already exists. Add --resume to go on with that run, after its end "
            "with a larger train.iterations; or choose another folder with --out."
        )


def check_same_records(
    run: Path, before: Mapping[str, str] | None, now: Mapping[str, str]
) -> None:
    """Checks that a resumed run goes on with the data that it was trained on.

    Args:
        run: the run folder.
        before: digest of each split's records at the last checkpoint; None where an
            older version wrote it.
        now: digest of each split's present records.

    Raises:
        UserError: when the records are others.
    """
    changed = [s for s, digest in (before or {}).items() if digest != now.get(s)]
    if changed:
        raise UserError(
            f"The records of {' and '.join(changed)} are not those that {run} was "
            "trained on: they were made again since, from other files. Start a new run "
            "with another --out; or, to go on with the present records, add --set "
            "data.on_changed_source=ignore."
        )


def open_run(run: Path, config: Config) -> None:
    """Writes the configuration and the versions into the folder; makes it if missing.

    Raises:
        UserError: when the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        # The checksum reveals a change since the start of the run.
        _write_json(run / CONFIG_FILE, sealed(config_to_dict(config)))
        machine = {"python": platform.python_version(), "platform": platform.platform()}
        versions = {**machine, **package_versions(PACKAGES)}
        _write_json(run / VERSIONS_FILE, versions)
    except OSError as error:
        raise UserError(f"Cannot write to the run folder {run}: {error}") from error


def _is_unused(run: Path) -> bool:
    """Tells whether a folder is empty, but for a lock and leftovers of a killed run."""
    return run.is_dir() and all(
        path.name == LOCK_FILE or path.name.startswith(PARTIAL)
        for path in run.iterdir()
    )


def _check_same_settings(run: Path, config: Config, may_be_longer: bool) -> None:
    old_settings = flat(config_to_dict(load_config(str(run / CONFIG_FILE))))
    new_settings = flat(config_to_dict(config))

    def is_longer(key: str) -> bool:
        return (
            may_be_longer and key == _LENGTH and new_settings[key] > old_settings[key]
        )

    changed = [
        f"{key} was {old_settings.get(key)!r} and is {new_settings.get(key)!r}"
        for key in {**old_settings, **new_settings}
        if old_settings.get(key) != new_settings.get(key)
        and key not in FREE_SETTINGS
        and not is_longer(key)
        and not key.startswith("published.")
    ]
    if changed:
        raise UserError(
            f"The run {run} was started with other settings: {'; '.join(changed)}. "
            f"Resume with --cfg {quoted(run / CONFIG_FILE)} --out {quoted(run)} "
            "--resume, or start anew with another --out."
        )


def flat(tree: dict, prefix: str = "") -> dict:
    """Returns all values by their path; a named object is one value."""
    values = {}
    for key, value in tree.items():
        if isinstance(value, dict) and not is_named(value):
            values.update(flat(value, f"{prefix}{key}."))
        else:
            values[prefix + key] = value
    return values


def _write_json(path: Path, values: dict) -> None:
    write_text(path, format_json(values) + "\n")
