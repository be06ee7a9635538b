"""A look at a file of HDF5 before Keras reads weights from it.

A few bytes can claim terabytes, and a file can name others, whose content would be read
in its place. Files of Keras do neither.
"""

from pathlib import Path
from typing import BinaryIO

import h5py

from gcnet_tf.files.reading import is_of_system

_MAX_OBJECTS = 100_000
_MAX_DEPTH = 32
# Limit of the arrays' size over the file's size, as of a PyTorch checkpoint.
_MAX_EXPANSION = 8


def check_hdf5(source: Path | BinaryIO, num_bytes: int) -> None:
    """Checks that everything in a file lies in it, and is as large as it claims.

    Args:
        source: the file.
        num_bytes: its size.

    Raises:
        ValueError: when something does not, or the file is damaged.
        OSError: when the system cannot read it.
    """
    try:
        with h5py.File(source) as file:
            _check(file, num_bytes)
    # A damaged file can lead HDF5 to any exception.
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        if is_of_system(error):
            raise
        raise ValueError(f"it cannot be read as HDF5: {error}") from error


def _check(file: h5py.File, num_bytes: int) -> None:
    groups: list[tuple[h5py.Group, int]] = [(file, 0)]
    num_objects = total = 0
    while groups:
        group, depth = groups.pop()
        for name in group:
            num_objects += 1
            if depth > _MAX_DEPTH or num_objects > _MAX_OBJECTS:
                raise ValueError("it is nested more deeply than any file of weights")
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ValueError(f"{group.name}/{name} is a link to another place")
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"{item.name} lies in another file")
                total += item.size * item.dtype.itemsize if item.size else 0
    if total > _MAX_EXPANSION * num_bytes:
        raise ValueError(f"its arrays would take {total} bytes, far more than it has")
