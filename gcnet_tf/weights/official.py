"""The reference's own files: their addresses, and downloads into the cache."""

import warnings
from pathlib import Path

from gcnet_tf.config import load_config
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.errors import UserError
from gcnet_tf.files.address import shown
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.download import cache_folder, download, hash_in_name

_THIRD_PARTY = "https://download.openmmlab.com/pretrain/third_party"

# ImageNet weights of the ResNet-V1c by its depth. The reference has none of depth 34.
IMAGENET_BACKBONES = {
    18: f"{_THIRD_PARTY}/resnet18_v1c-b5776b93.pth",
    50: f"{_THIRD_PARTY}/resnet50_v1c-2cccc1ad.pth",
    101: f"{_THIRD_PARTY}/resnet101_v1c-e67eebb6.pth",
}


def fetch(url: str, allow_hash_mismatch: bool = False) -> Path:
    """Downloads a checkpoint into the cache, unless it is there.

    The file's name ends in the first digits of its SHA-256, which are checked.

    Raises:
        UserError: when the file cannot be downloaded, or its hash differs.
    """
    name = shown(url).rsplit("/", 1)[-1]
    path = cache_folder() / "checkpoints" / name
    return download(url, path, hash_in_name(name), allow_hash_mismatch)


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
