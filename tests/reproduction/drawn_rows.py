"""Published rows in miniature: narrow checkpoints, data sets, and their true mIoU."""

import ast
import hashlib
from functools import cache
from pathlib import Path

import golden
import miniature
import numpy as np
from drawn import draw_tensor, state_checksum
from torch_files import write_torch_file

# Rows of the golden file, with their data sets.
ROWS = {
    "voc_r50_20k": "voc12aug",
    "ade20k_r50_80k": "ade20k",
    "cityscapes_r50_769x769_40k": "cityscapes",
}


@cache
def truth() -> dict[str, np.ndarray]:
    return golden.load("published")


def true_miou(row: str, mode: str) -> float:
    """Returns what the reference computes, in percent."""
    return 100 * float(truth()[f"{row}/{mode}/miou"])


def write_checkpoint(row: str, folder: Path) -> Path:
    """Writes the checkpoint as it is published: the hash is in the name."""
    state = {}
    for line in str(truth()[f"{row}/shapes"]).splitlines():
        key, _, shape = line.partition(" ")
        seed = int(truth()[f"{row}/weights_seed"])
        state[key] = draw_tensor(key, ast.literal_eval(shape), seed).astype(np.float32)
    expected = truth()[f"{row}/weights_checksum"]
    np.testing.assert_allclose(state_checksum(state), expected, rtol=1e-6)
    for name in ("weight", "bias"):
        state[f"decode_head.conv_seg.{name}"] = truth()[f"{row}/conv_seg.{name}"]
    path = write_torch_file(folder / "drawn.pth", {"meta": {}, "state_dict": state})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"{row}-{digest}.pth")


def write_data(row: str, folder: Path) -> Path:
    """Writes the data set of a row into a folder, and returns it."""
    miniature.TREES[ROWS[row]](folder)
    return folder


def settings(row: str, root: Path, records: Path) -> list[str]:
    """Lists the settings with which the golden figures were made."""
    names = ("model.backbone.base_channels", "model.head.channels")
    names += ("model.auxiliary.channels",)
    sizes = dict(zip(names, truth()["channels"].tolist()))
    for name in ("scale", "window", "stride", "ratios"):
        sizes[f"evaluation.{name}"] = truth()[name].tolist()
    folders = {"data.root": root, "data.records": records, "data.allow_partial": "true"}
    return [f"{key}={value}" for key, value in (sizes | folders).items()]
