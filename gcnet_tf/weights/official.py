"""The reference's own files: their addresses, and downloads into the cache."""

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path

from gcnet_tf.config import load_config
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.errors import UserError
from gcnet_tf.files.address import shown
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.download import cache_folder, download, hash_in_name

_CHECKPOINTS = "checkpoints"
_THIRD_PARTY = "https://download.openmmlab.com/pretrain/third_party"

# ImageNet weights of the ResNet-V1c by its depth. The reference has none of depth 34.
IMAGENET_BACKBONES = {
    18: f"{_THIRD_PARTY}/resnet18_v1c-b5776b93.pth",
    50: f"{_THIRD_PARTY}/resnet50_v1c-2cccc1ad.pth",
    101: f"{_THIRD_PARTY}/resnet101_v1c-e67eebb6.pth",
}


def fetch(url: str, allow_hash_mismatch: bool = False) -> Path:
    """Downloads a checkpoint into the cache, unless it is there.

    Where the file's name ends in the first digits of its SHA-256, they are checked.

    Raises:
        UserError: when the file cannot be downloaded, or its hash differs.
    """
    path = cached_path(url)
    _adopt(path)
    return download(url, path, hash_in_name(path.name), allow_hash_mismatch)


def cached_path(url: str) -> Path:
    """Returns the path in the cache: each address has a folder of its own.

    Two hosts may give one name to different files.
    """
    address = shown(url)
    folder = hashlib.sha256(address.encode()).hexdigest()[:16]
    name = address.partition("?")[0].rstrip("/.").rpartition("/")[2]
    return cache_folder() / _CHECKPOINTS / folder / (name or "checkpoint")


def _adopt(path: Path) -> None:
    """Moves a file that older versions have cached, under its name alone, to its place.

    Without a hash in the name nothing tells from which address it came.
    """
    old, expected = cache_folder() / _CHECKPOINTS / path.name, hash_in_name(path.name)
    if expected is None or path.exists() or not old.is_file():
        return
    # Another process may be first; and downloading reports a cache that is read-only.
    with suppress(OSError):
        if file_sha256(old).startswith(expected):
            path.parent.mkdir(parents=True, exist_ok=True)
            old.replace(path)


def warn_of_hash(path: Path) -> None:
    """Warns when a local file's SHA-256 does not begin with the digits in its name."""
    expected = hash_in_name(path.name)
    if expected is None or not path.is_file():
        return
    actual = file_sha256(path)[: len(expected)]
    if actual != expected:
        warnings.warn(
            f"{path.name} is not the file it is named after: its SHA-256 starts with "
            f"{actual}, its name says {expected}.",
            stacklevel=2,
        )


def imagenet_backbone(depth: int) -> str:
    """Returns the address of the ImageNet weights of a ResNet-V1c.

    Raises:
        UserError: when the reference has no weights of this depth.
    """
    if depth not in IMAGENET_BACKBONES:
        allowed = ", ".join(map(str, IMAGENET_BACKBONES))
        raise UserError(
            "model.backbone.pretrained: there are no ImageNet weights of depth "
            f"{depth}; allowed: depth {allowed}, or null."
        )
    return IMAGENET_BACKBONES[depth]


def published_checkpoint(name: str) -> str | None:
    """Returns the address of a published row's checkpoint; None for other names."""
    path = shipped_configs().get(name)
    return load_config(path).published.checkpoint_url if path else None


def published_rows() -> list[str]:
    """Lists the names of the published rows that have a checkpoint."""
    return [name for name in shipped_configs() if published_checkpoint(name)]
