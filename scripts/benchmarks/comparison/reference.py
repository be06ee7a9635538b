"""A row of mmsegmentation: its own training by the settings of a configuration."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peer
from benchmarks.comparison.runs import METRICS_FILE, Run, has_last_miou
from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError

WORKER = peer.WORKERS / "reference_recipe.py"
_SETTINGS_FILE = "settings.json"
# From random weights, as the peer starts.
_PUBLISHED = ("voc_r50_20k", ["model.backbone.pretrained=null"])
# What may differ from a published row; the peer's worker knows nothing else.
_FREE = {
    "model.backbone": {"depth", "base_channels"},
    "model.head": {"channels", "dropout"},
    "model.auxiliary": {"channels", "dropout"},
    "model": {"align_corners", "winograd"},
    "augment": {
        *("base_scale", "ratio_range", "crop_size"),
        *("category_max_ratio", "flip_probability", "photometric_distortion"),
    },
    "train": {
        *("iterations", "batch_size", "seed", "auxiliary_weight"),
        *("learning_rate", "min_learning_rate", "poly_power"),
        *("momentum", "weight_decay", "early_stopping"),
        *("log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints"),
        *("panels", "join_timeout", "tf32"),
    },
    "evaluation": {"scale"},
}
_FREE_NAMES = {f"{part}.{name}" for part, names in _FREE.items() for name in names}
_FREE_PARTS = ("data.", "published.")


def list_runs(runs: list[Run], folder: Path) -> list[Run]:
    """Lists the peer's runs: the first row of `runs` with each of its seeds.

    Raises:
        UserError: for a configuration that mmsegmentation is not made to train here.
    """
    first = runs[0]
    if peer.NAME in [run.name for run in runs]:
        raise UserError(
            f"--reference: it adds the row {peer.NAME}, and another row has this name; "
            "choose another one."
        )
    own = [run for run in runs if run.name == first.name]
    _require_published(first.config())
    return [
        run._replace(name=peer.NAME, folder=folder / peer.NAME / f"seed{run.seed}")
        for run in own
    ]


def require(python: Path) -> None:
    """Raises a UserError where the file of `--peer-python` is missing."""
    if not python.is_file():
        raise UserError(
            f"--reference: there is no {python}. `make .venv-parity/installed` makes "
            "it, --peer-python names another."
        )


def check_runs(runs: Sequence[Run]) -> None:
    """Checks the folders before any training starts.

    Raises:
        UserError: when a folder holds a run with other settings.
    """
    for run in runs:
        file = run.folder / _SETTINGS_FILE
        if file.is_file() and file.read_text(encoding="utf-8") != _settings_text(run):
            raise UserError(
                f"{run.folder} holds a run with other settings; give another --runs."
            )


def train(python: Path, run: Run) -> None:
    """Trains one of the peer's runs from its beginning; a finished one is left.

    Raises:
        UserError: when the peer fails.
    """
    if has_last_miou(run):
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    file = run.folder / _SETTINGS_FILE
    file.write_text(_settings_text(run), encoding="utf-8")
    # It imports TensorFlow, and the runs are planned without.
    from benchmarks.sources import write_pairs

    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "val"):
            write_pairs(run.config(), split, Path(folder) / split)
        words = [python, WORKER, folder, file, run.folder / METRICS_FILE]
        code = subprocess.run([str(word) for word in words], check=False).returncode
    if code:
        raise UserError(f"{peer.NAME} ended with exit code {code}; see above.")


def _settings_text(run: Run) -> str:
    return json.dumps(settings_of(run.config()), indent=2) + "\n"


def settings_of(config: Config) -> dict[str, Any]:
    """Returns what the peer's worker needs, in its own words where it has some."""
    raw, classes = config_to_dict(config), facts_of(config.data).classes
    train, augment, model = raw["train"], raw["augment"], raw["model"]
    return {
        "network": peer.network_of(raw, len(classes)),
        "dropout": [model[head]["dropout"] for head in ("head", "auxiliary")],
        "classes": classes,
        "augment": {name: augment[name] for name in sorted(_FREE["augment"])},
        "scale": raw["evaluation"]["scale"],
        "optimizer": {
            "lr": train["learning_rate"],
            "momentum": train["momentum"],
            "weight_decay": train["weight_decay"],
        },
        "schedule": {
            "power": train["poly_power"],
            "eta_min": train["min_learning_rate"],
        },
        **{
            name: train[name]
            for name in (
                *("auxiliary_weight", "batch_size", "iterations", "seed"),
                *("log_every", "evaluate_every"),
            )
        },
    }


def _require_published(config: Config) -> None:
    """Raises a UserError for settings that the peer's worker does not know."""
    own = _flat(config_to_dict(config))
    published = _flat(config_to_dict(load_config(*_PUBLISHED)))
    other = [
        name
        for name, value in own.items()
        if value != published[name]
        and name not in _FREE_NAMES
        and not name.startswith(_FREE_PARTS)
    ]
    if other:
        raise UserError(
            f"--reference: {peer.NAME} is trained by the published settings alone, and "
            f"the first configuration differs in {', '.join(other)}. Put another one "
            "first."
        )


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested dicts by dotted names."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value
    return values
