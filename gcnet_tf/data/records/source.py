"""The comparison of records with the files that they were made from."""

import hashlib
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gcnet_tf.config import DataConfig
from gcnet_tf.data.records.manifest import Manifest
from gcnet_tf.data.sources.find import find_samples
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError

# The fingerprint of records whose files were given in lists, which are not compared.
FROM_LISTS = ""


def source_fingerprint(pairs: Iterable[Pair]) -> str:
    """Returns a hash of the files' names, sizes and times of change, in whole seconds.

    Folders are not part of it, because data may be moved. Fractions of a second are
    not, because archives and some file systems drop them.

    Raises:
        UserError: when a file has disappeared.
    """
    digest = hashlib.sha256()
    for pair in pairs:
        try:
            for path in pair.files:
                stat = os.stat(path)
                state = (pair.name, path.name, stat.st_size, int(stat.st_mtime))
                digest.update(f"{state}\n".encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise UserError(f"Cannot read the sample {pair.name}: {error}.") from error
    return digest.hexdigest()


def source_bytes(pair: Pair) -> int:
    """Returns the bytes of a pair's files that count for the size of its shard.

    Raises:
        UserError: when a file has disappeared.
    """
    try:
        # A file of annotations may hold those of all images.
        files = pair.files if isinstance(pair.label, Path) else (pair.image,)
        return sum(path.stat().st_size for path in files)
    except OSError as error:
        raise UserError(f"Cannot read the sample {pair.name}: {error}.") from error


def source_has_changed(data: DataConfig, manifest: Manifest) -> bool:
    """Tells whether a split's files are others than those its records were made from.

    Records are enough for training, so that a source that is not there has not changed.
    Warns of records of an older version, which do not know their source.
    """
    if manifest.source == FROM_LISTS or not _has_sources(data, manifest.split):
        return False
    if manifest.source is None:
        warnings.warn(
            f"The records of the split '{manifest.split}' in {data.records} were made "
            "by an older version and carry no fingerprint of their source, so that "
            "changed images or labels go unnoticed; scripts/make_tfrecords.py --cfg "
            "CONFIG --overwrite makes new ones.",
            stacklevel=2,
        )
        return False
    try:
        with warnings.catch_warnings():
            # Conversion warns of a source that is not complete.
            warnings.simplefilter("ignore")
            pairs = find_samples(replace(data, allow_partial=True), manifest.split)
        return source_fingerprint(pairs[: manifest.limit]) != manifest.source
    except UserError:
        return True  # conversion names the reason


def _has_sources(data: DataConfig, split: str) -> bool:
    """Tells whether all sources are there; an empty folder is a bare mount point."""
    also = [source.root for source in data.also if split in source.splits]
    return all(map(_is_filled, (data.root, *also)))


def _is_filled(folder: str) -> bool:
    if not Path(folder).is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(True for _ in entries)
