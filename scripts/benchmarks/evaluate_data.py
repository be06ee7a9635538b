"""What both sides of `scripts/benchmark.py evaluate` evaluate, in one folder.

The same files for both: images and labels as records hold them, and the same weights
under the names of either side.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.evaluate_files import (
    CONFIG,
    DATA,
    PEER_SETTINGS,
    PEER_WEIGHTS,
    SPLIT,
)
from benchmarks.infer import network_of
from benchmarks.infer_exports import drawn_model
from gcnet_tf.config import Config, config_from_dict, config_to_dict, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.shards import parse_example
from gcnet_tf.data.stream.lanes import ALL, split_records
from gcnet_tf.evaluation.load import load_model
from gcnet_tf.runtime.windows import scales_of
from gcnet_tf.weights.export_mmseg import export_mmseg
from gcnet_tf.weights.files import WEIGHTS_FILE, save_weights


def prepare(
    cfg: str, run: str | None, overrides: list[str], number: int, folder: Path
) -> None:
    """Writes configuration, weights, images and records into a new folder.

    Args:
        cfg: a configuration, or the name of a shipped one.
        run: a run folder; None for `cfg` with drawn weights.
        overrides: changes of the configuration.
        number: how many images of its split val, evenly spread; all if there are less.
        folder: where to write.

    Raises:
        UserError: when the data is neither there nor can be drawn.
    """
    if run is None:
        config = load_config(cfg, overrides)
        model = drawn_model(config)
    else:
        model, config = load_model(None, None, run, overrides)
    _copy_images(config, number, folder / DATA / SPLIT)
    config = _with_data(config, folder / DATA)
    ensure_records(config, [SPLIT])
    raw = config_to_dict(config)
    (folder / CONFIG).write_text(json.dumps(raw))
    save_weights(model, folder / WEIGHTS_FILE)

    export_mmseg(model, folder / PEER_WEIGHTS)
    evaluation, classes = raw["evaluation"], facts_of(config.data).classes
    settings = {
        "network": network_of(raw, len(classes)),
        "classes": classes,
        "scale": evaluation["scale"],
        "window": evaluation["window"],
        "stride": evaluation["stride"],
        "scales": scales_of(config.evaluation.scale, config.evaluation.ratios),
    }
    (folder / PEER_SETTINGS).write_text(json.dumps(settings))


def windows_for(scale: tuple[int, int]) -> tuple[int, int]:
    """Side and step of square windows, the same share of the scale as published.

    769 of 1025 rows, in steps of 513.
    """
    side = round(min(scale) * 769 / 1025)
    return side, max(round(side * 513 / 769), 1)


def _copy_images(config: Config, number: int, folder: Path) -> None:
    """Writes some samples of a split as files, without decoding them."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    manifest = ensure_records(config, [SPLIT])[SPLIT]
    total = manifest.num_samples
    places = np.linspace(0, total - 1, min(number, total)).astype(int)
    records = split_records(Path(config.data.records) / SPLIT, manifest, ALL)
    for index, serialized in enumerate(records):
        if index not in places:
            continue
        example = {k: v.numpy() for k, v in parse_example(serialized).items()}
        suffix = "jpg" if example["image"].startswith(b"\xff\xd8") else "png"
        (folder / "images" / f"{index:05}.{suffix}").write_bytes(example["image"])
        (folder / "labels" / f"{index:05}.png").write_bytes(example["label"])


def _with_data(config: Config, root: Path) -> Config:
    """The configuration on these images, with windows that are smaller than they."""
    raw = config_to_dict(config)
    raw["data"] = {
        "dataset": "folder",
        "root": str(root),
        "records": str(root / "records"),
        "classes": facts_of(config.data).classes,
    }
    if config.evaluation.mode != "slide":
        side, step = windows_for(config.evaluation.scale)
        raw["evaluation"] |= {"window": [side, side], "stride": [step, step]}
    return config_from_dict(raw)
