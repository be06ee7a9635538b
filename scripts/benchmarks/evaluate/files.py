"""Names of the files in the folder that both sides of an evaluation work on.

Needs no TensorFlow and no PyTorch: the peer's worker imports it as well.
"""

import json
from pathlib import Path

OURS, PEER = "gcnet_tf", "mmsegmentation"
CONFIG = "config.json"
# Images and labels are in DATA/SPLIT, our records of them in DATA/records.
DATA, SPLIT = "data", "val"
PEER_WEIGHTS = "mmsegmentation.npz"
PEER_SETTINGS = "mmsegmentation.json"


def write_miou(folder: Path, name: str, mode: str, miou: float) -> None:
    """Writes the mIoU of a side's evaluation, a fraction, into the folder."""
    _miou_file(folder, name, mode).write_text(json.dumps(miou), encoding="utf-8")


def read_miou(folder: Path, name: str, mode: str) -> float:
    """Reads the mIoU that `write_miou` has written."""
    return json.loads(_miou_file(folder, name, mode).read_text(encoding="utf-8"))


def _miou_file(folder: Path, name: str, mode: str) -> Path:
    return folder / f"{name}_{mode}.json"
