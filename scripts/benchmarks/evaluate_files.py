"""What lies in the folder that both sides of an evaluation benchmark work on."""

import json
from pathlib import Path

OURS, PEER = "gcnet_tf", "mmsegmentation"
CONFIG = "config.json"
# Images and labels are in DATA/SPLIT, our records of them in DATA/records.
DATA, SPLIT = "data", "val"
PEER_WEIGHTS = "mmsegmentation.npz"
PEER_SETTINGS = "mmsegmentation.json"


def write_scores(folder: Path, name: str, mode: str, miou: float) -> None:
    """A worker's side: keeps the mIoU of an evaluation, a fraction."""
    _scores(folder, name, mode).write_text(json.dumps(miou))


def read_scores(folder: Path, name: str, mode: str) -> float:
    """What `write_scores` has kept."""
    return json.loads(_scores(folder, name, mode).read_text())


def _scores(folder: Path, name: str, mode: str) -> Path:
    return folder / f"{name}_{mode}.json"
