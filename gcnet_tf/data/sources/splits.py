"""The names that people and tools give to splits."""

import re
from collections.abc import Iterable

# Images that nothing divides into splits.
UNDIVIDED = ""

_SPELLINGS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def split_of(name: str) -> str:
    """Returns the split that a folder or file is for, by a word in its name.

    "instances_val2017" is for "val"; UNDIVIDED if no word, or more than one, names a
    split.
    """
    words = re.findall("[a-z]+", name.lower())
    splits = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
    return splits.pop() if len(splits) == 1 else UNDIVIDED


def folder_of_split(folders: Iterable[str], split: str) -> str | None:
    """Returns the folder of a split; None if there is none, or no single one.

    It has the split's name, another spelling, or the only one that has a word of it.
    """
    names = sorted(folders)
    if split in names:
        return split
    spelled = [name for name in names if _SPELLINGS.get(name.lower()) == split]
    worded = [name for name in names if name and split_of(name) == split]
    chosen = spelled or worded
    return chosen[0] if len(chosen) == 1 else None
