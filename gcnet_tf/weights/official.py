"""The reference's own files: where they are, and how they come here, once."""

import warnings
from pathlib import Path

from gcnet_tf.config import load_config
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.download import cache_folder, download, hash_in_name

_THIRD_PARTY = "https://download.openmmlab.com/pretrain/third_party"

# depth: ImageNet weights of the ResNet-V1c. The reference has none of depth 34.
IMAGENET_BACKBONES = {
    18: f"{_THIRD_PARTY}/resnet18_v1c-b5776b93.pth",
    50: f"{_THIRD_PARTY}/resnet50_v1c-2cccc1ad.pth",
    101: f"{_THIRD_PARTY}/resnet101_v1c-e67eebb6.pth",
}


def fetch(url: str, allow_hash_mismatch: bool = False) -> Path:
    """Downloads a checkpoint into the cache, or finds it there.

    The file's name ends in the first digits of its SHA-256, which are checked.

    Raises:
        UserError: when it cannot be had, or its hash is another one.
    """
    name = url.rsplit("/", 1)[-1]
    path = cache_folder() / "checkpoints" / name
    return download(url, path, hash_in_name(name), allow_hash_mismatch)


def warn_of_hash(path: Path) -> None:
    """Warns when a local file's SHA-256 does not begin with the digits in its name."""
    wanted = hash_in_name(path.name)
    if wanted is None or not path.is_file():
        return
    found = file_sha256(path)[: len(wanted)]
    if found != wanted:
        warnings.warn(
            f"{path.name} is not the file it is named after: its SHA-256 starts with "
            f"{found}, its name says {wanted}."
        )


def imagenet_backbone(depth: int) -> str:
    """The address of the ImageNet weights of a ResNet-V1c.

    Raises:
        UserError: for a depth that the reference has no weights of.
    """
    if depth not in IMAGENET_BACKBONES:
        allowed = ", ".join(map(str, IMAGENET_BACKBONES))
        raise UserError(
            "model.backbone.pretrained: there are no ImageNet weights of depth "
            f"{depth}; allowed: depth {allowed}, or null."
        )
    return IMAGENET_BACKBONES[depth]


def published_checkpoint(name: str) -> str | None:
    """The address of a published row's checkpoint; None for any other name."""
    path = shipped_configs().get(name)
    return load_config(path).published.checkpoint_url if path else None


def published_rows() -> list[str]:
    """Names of the rows that have a checkpoint."""
    return [name for name in shipped_configs() if published_checkpoint(name)]
