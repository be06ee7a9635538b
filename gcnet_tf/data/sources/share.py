"""The share of the images that is kept for validation where nothing divides them."""

from collections.abc import Collection, Iterator
from itertools import compress
from pathlib import Path

import numpy as np

from gcnet_tf.data.compact import Names, hashes
from gcnet_tf.errors import UserError


def names_of_share(
    names: Collection[str], split: str, val_share: float, images: Path
) -> Names:
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
    hashed = hashes(_group_of(names))
    mixed = np.argsort(hashed, kind="stable")
    hashed = hashed[mixed]
    # Number of names up to the end of each group.
    ends = np.append(np.flatnonzero(hashed[1:] != hashed[:-1]) + 1, len(names))
    num_val = int(np.searchsorted(ends, round(val_share * len(names)), side="right"))
    if 0 < val_share < 1:
        num_val = min(max(num_val, 1), len(ends) - 1)
    in_val = ends[num_val - 1] if num_val > 0 else 0
    # Another split is a KeyError: it must never become the images of one of these.
    chosen = {"val": mixed[:in_val], "train": mixed[in_val:]}[split]
    is_chosen = np.zeros(len(names), bool)
    is_chosen[chosen] = True
    result = Names(compress(names, is_chosen))
    if names and not result:
        raise UserError(
            f"{images} has too few images for a {split} split; add images, or divide "
            "them yourself: a folder layout has train/ and val/, an export the lists "
            "ImageSets/Segmentation/train.txt and val.txt."
        )
    return result


def _group_of(names: Collection[str]) -> Iterator[str]:
    """Yields the sub-folder of each name, unless there is only one folder."""
    folders = (name.rpartition("/")[0] for name in names)
    first = next(folders, "")
    if all(folder == first for folder in folders):
        return iter(names)
    return (name.rpartition("/")[0] or name for name in names)
