"""Records that stay as they are while a process reads them.

A training opens its records again in every epoch and reads their manifest at every
evaluation, for days. Meanwhile another process may convert a changed source, which
removes the old files. Hard links keep them until the reader ends, and take no space.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from gcnet_tf.config import Config
from gcnet_tf.data.records.manifest import MANIFEST_FILE, read_manifest
from gcnet_tf.data.records.stored import folder_of, link_split
from gcnet_tf.data.sources.pairs import SPLITS
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.lock import locked
from gcnet_tf.files.remote.addresses import is_remote

_PINNED = "pinned-"
# A conversion that ends at the same time costs one attempt.
_ATTEMPTS = 5


@contextmanager
def pinned(config: Config, splits: Sequence[str] = SPLITS) -> Iterator[Config]:
    """Provides a configuration with links to the present records of some splits.

    Where links cannot be made, as on a volume that is read-only for this process, it
    is `config` itself. Links that killed processes left are removed. Of records at an
    address, the links are to copies in the cache.

    Raises:
        UserError: when a manifest is damaged, or an address cannot be read.
    """
    address = config.data.records if is_remote(config.data.records) else None
    records = folder_of(address) if address else Path(config.data.records)
    if address:
        records.mkdir(parents=True, exist_ok=True)
    elif not os.access(records, os.W_OK):
        yield config
        return
    remove_abandoned(records)
    # The lock comes before the folder, which would count as abandoned without it.
    folder = records / f"{_PINNED}{uuid.uuid4().hex}"
    with locked(folder), ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            for split in splits:
                if address:
                    skip_missing = config.data.on_error == "skip"
                    link_split(address, folder, split, skip_missing)
                else:
                    _link(records, folder, split)
        except OSError as error:
            if address:
                raise UserError(
                    f"Cannot keep copies of {address} in {folder}: {first_line(error)}."
                ) from error
            yield config
            return
        yield replace(config, data=replace(config.data, records=str(folder)))


def remove_abandoned(records: Path) -> None:
    """Removes the links of processes that have ended without removing them."""
    for folder in {path.with_suffix("") for path in records.glob(f"{_PINNED}*")}:
        with suppress(UserError), locked(folder):  # locked by a process that lives
            shutil.rmtree(folder, ignore_errors=True)


def _link(records: Path, folder: Path, split: str) -> None:
    for _ in range(_ATTEMPTS):
        source, target = records / split, folder / split
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy(source / MANIFEST_FILE, target)
        for shard in read_manifest(folder, split, check_files=False).shards:
            try:
                os.link((source / shard.file).resolve(), target / shard.file)
            except FileNotFoundError:
                pass  # whoever reads the records reports it, or replaces its samples
        # Files are removed after the manifest is replaced, so that none was before.
        if _same(source / MANIFEST_FILE, target / MANIFEST_FILE):
            return
    raise OSError(f"{source} changes all the time")


def _same(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()
