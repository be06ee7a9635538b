"""Preparation of the folder that both sides of an evaluation benchmark work on.

It holds the same files for both: images and labels as records hold them, and the same
weights under the names of either side.
"""

import json
from pathlib import Path

from benchmarks import peer
from benchmarks.drawn import drawn_model, with_folder_data
from benchmarks.evaluate.files import (
    CONFIG,
    DATA,
    PEER_SETTINGS,
    PEER_WEIGHTS,
    SPLIT,
)
from benchmarks.sources import write_pairs
from gcnet_tf.config import Config, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.runtime.windows import scales_of
from gcnet_tf.weights.export_mmseg import export_mmseg
from gcnet_tf.weights.files import WEIGHTS_FILE, save_weights


def prepare(
    cfg: str, run: str | None, overrides: list[str], num_images: int, folder: Path
) -> None:
    """Writes configuration, weights, images and records into a new folder.

    Args:
        cfg: a configuration, or the name of a shipped one.
        run: a run folder; None for `cfg` with drawn weights.
        overrides: changes of the configuration.
        num_images: number of images of its split val, evenly spread; all if there are
            fewer.
        folder: a new folder.

    Raises:
        UserError: when the data is not there and cannot be drawn.
    """
    if run is None:
        config = load_config(cfg, overrides)
        model = drawn_model(config)
    else:
        model, config = load_model(None, None, run, overrides)
    write_pairs(config, SPLIT, folder / DATA / SPLIT, num_images)
    config = _with_data(config, folder / DATA)
    ensure_records(config, [SPLIT])
    raw = config_to_dict(config)
    (folder / CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    save_weights(model, folder / WEIGHTS_FILE)

    export_mmseg(model, folder / PEER_WEIGHTS)
    evaluation, classes = raw["evaluation"], facts_of(config.data).classes
    settings = {
        "network": peer.network_of(raw, len(classes)),
        "classes": classes,
        "scale": evaluation["scale"],
        "window": evaluation["window"],
        "stride": evaluation["stride"],
        "scales": scales_of(config.evaluation.scale, config.evaluation.ratios),
    }
    (folder / PEER_SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


def windows_for(scale: tuple[int, int]) -> tuple[int, int]:
    """Returns the side and the step of square windows for an evaluation scale.

    They are the same share of the scale as the published ones, whose windows are 769 of
    1025 rows, in steps of 513.
    """
    side = round(min(scale) * 769 / 1025)
    return side, max(round(side * 513 / 769), 1)


def _with_data(config: Config, root: Path) -> Config:
    """Returns the configuration on these images, with windows smaller than they are."""
    raw = config_to_dict(config)
    if config.evaluation.mode != "slide":
        side, step = windows_for(config.evaluation.scale)
        raw["evaluation"] |= {"window": [side, side], "stride": [step, step]}
    return with_folder_data(raw, root, list(facts_of(config.data).classes))
