"""Records at an address: their copies for reading, and the upload of new ones.

A split is read from links to whole shards in the cache, each checked by the SHA-256 in
the manifest. A new split is made in a local folder. Its shards, whose names say what
they were made from, are uploaded first, and the manifest last. The shards that it
replaces stay until the next conversion, for those who have read the old manifest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.records.finished import Conversion, write_records
from gcnet_tf.data.records.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    read_manifest,
)
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.remote.addresses import is_remote
from gcnet_tf.files.remote.cache import entry, remote_folder, require_room
from gcnet_tf.files.remote.failures import NotThere
from gcnet_tf.files.remote.inputs import in_parallel, local_copy
from gcnet_tf.files.remote.store import Store

_REPLACED_FILE = "replaced.json"
# A conversion that ends at the same time costs one attempt.
_ATTEMPTS = 5


def folder_of(address: str) -> Path:
    """Returns the local folder for links to records at an address, and new records."""
    digest = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:24]
    return remote_folder() / "records" / digest


def link_split(address: str, folder: Path, split: str, skip_missing: bool) -> None:
    """Writes the manifest of a split into a folder, and links to its shards.

    Args:
        address: of the records of all splits.
        folder: the local folder for all splits.
        split: name of the split.
        skip_missing: whether shards that are not there are left out.

    Raises:
        UserError: when the records cannot be read, or do not fit into the cache.
    """
    store, target = Store(f"{address}/{split}", "data.records"), folder / split
    for _ in range(_ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        text = store.read(MANIFEST_FILE)
        (target / MANIFEST_FILE).write_bytes(text)
        shards = read_manifest(folder, split, check_files=False).shards
        require_room(sum(shard.num_bytes for shard in shards))
        try:
            in_parallel(
                lambda shard: _link(store, shard, target, skip_missing),
                shards,
                store.address,
            )
        except NotThere:
            if store.read(MANIFEST_FILE) != text:
                continue  # these are the shards of the manifest before
            raise
        return
    raise UserError(f"{store.address} changes all the time; wait for the conversions.")


def _link(store: Store, shard: Shard, target: Path, skip_missing: bool) -> None:
    def make(partial: Path) -> None:
        store.fetch(shard.file, partial, shard.num_bytes, shard.sha256)

    def is_intact(path: Path) -> bool:
        return file_sha256(path) == shard.sha256

    try:
        key = f"sha256-{shard.sha256}"
        with entry(key, shard.num_bytes, make, is_intact) as path:
            try:
                os.link(path, target / shard.file)
            except OSError:  # a disk without links
                shutil.copyfile(path, target / shard.file)
    except NotThere:
        if not skip_missing:
            raise


def local_folder(records: str) -> Path:
    """Returns the local folder in which records are made, where they stay or not."""
    return folder_of(records) if is_remote(records) else Path(records)


def write_split(
    pairs: Sequence[Pair],
    records: str,
    split: str,
    facts: DatasetFacts,
    num_workers: int | None,
    convert: Conversion | None = None,
    **stated: Any,
) -> Manifest:
    """Converts a split into a folder, or to an address, as `write_records` does.

    What a killed conversion to an address has made in the local folder is used again.

    Args:
        pairs: the images and labels to convert.
        records: folder or address of the records of all splits.
        split: name of the split.
        facts: the classes.
        num_workers: number of threads.
        convert: converts in their place.
        stated: made_with, limit and source of the manifest.

    Raises:
        UserError: as `write_records`, and when an address cannot be written.
    """
    folder = local_folder(records)
    manifest = None
    if is_remote(records):
        manifest = _staged(folder, split, facts, stated)
    if manifest is None:
        manifest = write_records(
            pairs,
            folder,
            split,
            facts,
            num_workers=num_workers,
            convert=convert,
            **stated,
        )
    if is_remote(records):
        publish(folder, records, split, manifest)
    return manifest


def _staged(
    folder: Path, split: str, facts: DatasetFacts, stated: Mapping[str, Any]
) -> Manifest | None:
    """Returns the manifest of a split that was made, and not yet uploaded."""
    try:
        manifest = read_manifest(folder, split)
    except UserError:
        return None
    is_same = (manifest.dataset, manifest.classes) == (facts.name, facts.classes)
    is_same &= all(getattr(manifest, key) == value for key, value in stated.items())
    return manifest if is_same and stated["source"] else None


def with_local_sources(config: Config) -> Config:
    """Returns a configuration whose source folders are local copies.

    Raises:
        UserError: when one at an address cannot be read, or does not fit into the
            cache.
    """
    data = config.data
    also = tuple(
        replace(source, root=local_copy(source.root, f"data.also[{index}].root"))
        for index, source in enumerate(data.also)
    )
    root = local_copy(data.root, "data.root")
    return replace(config, data=replace(data, root=root, also=also))


def publish(folder: Path, address: str, split: str, manifest: Manifest) -> None:
    """Uploads a split that was made in a local folder, and removes it there.

    Args:
        folder: the local folder of all splits.
        address: of the records of all splits.
        split: name of the split.
        manifest: its manifest.

    Raises:
        UserError: when it cannot be written; the records at the address are as before.
    """
    store = Store(f"{address}/{split}", "data.records")
    names = {shard.file for shard in manifest.shards}
    before = _shards_at(address, split)
    present = store.list()
    missing = [
        shard
        for shard in manifest.shards
        if shard.file not in present
        or present[shard.file].num_bytes != shard.num_bytes
        or shard.file not in before
        or before[shard.file] != shard.sha256
    ]
    in_parallel(
        lambda shard: store.put(shard.file, folder / split / shard.file),
        missing,
        store.address,
    )
    replaced = [name for name in before if name not in names]
    gone = set(_replaced_before(store)) - names - before.keys()
    store.put(MANIFEST_FILE, folder / split / MANIFEST_FILE)
    store.write(_REPLACED_FILE, json.dumps(replaced).encode())
    # Only what is a name of a shard: the list may be a stranger's.
    store.remove(name for name in gone if name in present)
    shutil.rmtree(folder / split, ignore_errors=True)


def _shards_at(address: str, split: str) -> dict[str, str]:
    """Returns the shards at an address, with their hashes; none where damaged."""
    try:
        manifest = read_manifest(address, split, check_files=False)
    except UserError:
        return {}
    return {shard.file: shard.sha256 for shard in manifest.shards}


def _replaced_before(store: Store) -> Sequence[str]:
    with suppress(NotThere, ValueError):
        names = json.loads(store.read(_REPLACED_FILE))
        if isinstance(names, list):
            return [name for name in names if str(name).endswith(".tfrecord")]
    return []
