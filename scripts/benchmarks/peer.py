"""The peer, mmsegmentation in PyTorch: its environment, workers and networks."""

import subprocess
from pathlib import Path

from benchmarks.workers import REPOSITORY

NAME = "mmsegmentation"
WORKERS = REPOSITORY / "tests" / "parity"
"""Folder of the scripts that the peer's workers run."""


def find(python: Path) -> Path | None:
    """Returns the file of `--peer-python`; says so and returns None without it."""
    if python.is_file():
        return python
    print(
        f"{NAME} is left out: there is no {python}. `make .venv-parity/installed` "
        "makes it, --peer-python names another."
    )
    return None


def versions(python: Path | None) -> str:
    """Returns the versions of packages that decide the peer's speed; "" without it."""
    if python is None:
        return ""
    code = (
        "from importlib.metadata import version; print(*(f'{name} {version(name)}' "
        "for name in ('torch', 'mmsegmentation', 'mmcv-lite', 'numpy')), sep=', ')"
    )
    result = subprocess.run(
        [str(python), "-c", code],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return result.stdout.strip()


def settings(peer_versions: str) -> str:
    """Returns the line of a report's header that names the peer's versions."""
    return f"{NAME}: {peer_versions}" if peer_versions else ""


def network_of(config: dict, num_classes: int) -> dict:
    """Returns the arguments of `build_segmentor` in tests/parity/reference.py.

    The network gets the peer's default context block.

    Args:
        config: configuration as a dict.
        num_classes: number of classes of its data.
    """
    model = config["model"]
    return {
        "depth": model["backbone"]["depth"],
        "width": model["backbone"]["base_channels"],
        "head_channels": model["head"]["channels"],
        "aux_channels": model["auxiliary"]["channels"],
        "num_classes": num_classes,
        "align_corners": model["align_corners"],
    }
