"""The share of the images that is kept for validation where nothing divides them."""

import hashlib
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from gcnet_tf.errors import UserError
from gcnet_tf.files.names import to_bytes


def names_of_share(
    names: Collection[str], split: str, val_share: float, images: Path
) -> set[str]:
    """Returns the part of the names that a split gets, by a hash of the names.

    The names in a sub-folder, such as the frames of a scene, stay together if there are
    several. The order of the hashes is the same on every machine, and images that are
    added later move only few others from one split to the other.

    Args:
        names: names of images such as "name" or "sub/name".
        split: "train" or "val".
        val_share: share of the names for "val"; with a share between 0 and 1, each
            split gets at least one name or sub-folder.
        images: folder of the images, for the message.

    Raises:
        UserError: when there are names, but none is left for this split.
    """
    groups = _groups(names)
    mixed = sorted(groups, key=lambda name: hashlib.sha256(to_bytes(name)).digest())
    wanted = round(val_share * len(names))
    num_val, num_names = 0, 0
    for group in mixed:
        num_names += len(groups[group])
        if num_names > wanted:
            break
        num_val += 1
    if 0 < val_share < 1:
        num_val = min(max(num_val, 1), len(mixed) - 1)
    num_val = max(num_val, 0)
    # Another split is a KeyError: it must never become the images of one of these.
    chosen = {"val": mixed[:num_val], "train": mixed[num_val:]}[split]
    result = {name for group in chosen for name in groups[group]}
    if names and not result:
        raise UserError(
            f"{images} has too few images for a {split} split; add images, or divide "
            "them yourself: a folder layout has train/ and val/, an export the lists "
            "ImageSets/Segmentation/train.txt and val.txt."
        )
    return result


def _groups(names: Collection[str]) -> dict[str, list[str]]:
    """Groups names by sub-folder, unless there is only one folder."""
    folder_of = {name: str(PurePosixPath(name).parent) for name in names}
    if len(set(folder_of.values())) == 1:
        return {name: [name] for name in names}
    groups = defaultdict(list)
    for name, folder in folder_of.items():
        groups[name if folder == "." else folder].append(name)
    return groups
