"""The frame of a conversion: what is finished, and what may be removed.

A note beside a finished shard says from which sources it was made and what it holds, so
that a killed conversion can continue. It is removed when the manifest is written, which
says the same of the whole split. Nothing here loads TensorFlow.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.records.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import PARTIAL, write_text
from gcnet_tf.files.checksum import file_sha256, sealed, unsealed
from gcnet_tf.files.remote.addresses import require_local

NOTE = ".note.json"

# To be increased when the code makes other records of the same sources, so that shards
# of older code are not kept.
_FORMAT = 2


SHARD_BYTES = 128 * 2**20
# Shuffling starts with the order of the shards, so even a small set needs several.
MIN_SHARDS = 8
# Converts pairs into shards in a folder, given the split, the facts of pairs without
# own ones, and the desired bytes of a shard. Returns the shards, in order, and their
# pixels per training id, int64 (256,).
Conversion = Callable[
    [Sequence[Pair], Path, str, DatasetFacts, int], tuple[list[Shard], np.ndarray]
]


def write_records(
    pairs: Sequence[Pair],
    directory: str | Path,
    split: str,
    facts: DatasetFacts,
    *,
    num_workers: int | None = None,
    convert: Conversion | None = None,
    shard_bytes: int = SHARD_BYTES,
    progress: bool = True,
    made_with: dict[str, Any] | None = None,
    limit: int | None = None,
    source: str | None = None,
) -> Manifest:
    """Converts a split; until that has succeeded, the records that it has stay whole.

    The records depend only on the files, not on `num_workers`. Finished shards of the
    same files that a killed run left are kept.

    Args:
        pairs: the images and labels to convert.
        directory: folder of the records; the split gets a folder in it, from which
            other records are removed at the end.
        split: "train" or "val".
        facts: the classes, and the map from the files' ids to training ids.
        num_workers: number of threads that read and encode; None for one per core.
        convert: makes the shards in place of these threads.
        shard_bytes: desired size of a shard, measured by the source files.
        progress: shows a progress bar.
        made_with: for the manifest: the settings that decided about the contents.
        limit: greatest number of pairs to convert, the first ones; None for all. The
            manifest states it.
        source: for the manifest: the fingerprint of these pairs.

    Returns:
        The manifest, which <directory>/<split>/manifest.json holds, too.

    Raises:
        UserError: at the first bad file, or when the folder cannot be written.
    """
    if not pairs:
        raise UserError(f"There are no images to convert for the split '{split}'.")
    require_local(directory, "The folder of the records")
    if convert is None:
        # Imported only here, because it loads TensorFlow, which takes ten seconds.
        from gcnet_tf.data.records.shards import conversion_by_threads

        convert = conversion_by_threads(num_workers, progress)
    folder = Path(directory) / split
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pairs = pairs[:limit]
        shards, histogram = convert(pairs, folder, split, facts, shard_bytes)
        manifest = Manifest(
            dataset=facts.name,
            split=split,
            classes=facts.classes,
            num_samples=len(pairs),
            class_histogram=tuple(histogram[: facts.num_classes].tolist()),
            num_ignored_pixels=int(histogram[IGNORE_LABEL]),
            shards=tuple(shards),
            made_with=made_with or {},
            limit=limit,
            source=source,
        )
        write_manifest(manifest, folder)
        clear(folder, split, {shard.file for shard in manifest.shards})
        for note in folder.glob(f"*{NOTE}"):
            note.unlink()
    except OSError as error:
        raise UserError(
            f"Cannot write records to {folder}: {error}. Check the free space and the "
            "permissions there, or set data.records to another folder."
        ) from error
    return manifest


def kept_files(folder: Path, split: str) -> set[str]:
    """Returns the names of the files of the records that the split has until now."""
    if not (folder / MANIFEST_FILE).exists():
        return set()
    try:
        manifest = read_manifest(folder.parent, split, check_files=False)
    except UserError:  # a damaged manifest says of no file that it is not needed
        return {path.name for path in folder.iterdir()}
    return {shard.file for shard in manifest.shards}


def clear(folder: Path, split: str, kept: set[str]) -> None:
    """Removes the shards, notes and unfinished files but those of the kept shards."""
    for path in [*folder.glob(f"{split}-*.tfrecord*"), *folder.glob(f"{PARTIAL}*")]:
        if path.name.removesuffix(NOTE) not in kept:
            path.unlink(missing_ok=True)


def shard_path(folder: Path, split: str, number: int, total: int, source: str) -> Path:
    """Returns the path of a shard, given its fingerprint.

    The source is part of the name, so that new records never have the name of others
    that a running training still opens.
    """
    return folder / f"{split}-{number:05d}-of-{total:05d}-{source[:8]}.tfrecord"


def shards_of(num_pairs: int, num_bytes: int, shard_bytes: int) -> int:
    """Returns the number of shards of so many pairs, whose files have so many bytes."""
    return min(max(MIN_SHARDS, -(-num_bytes // shard_bytes)), num_pairs)


def fingerprint(pairs: Sequence[Pair], facts: DatasetFacts) -> str:
    """Returns a hash of a shard's sources without reading them.

    It covers each file's name, size and time of change, and the facts that labels are
    read with.
    """
    # By the id of the facts, because many pairs share the same object.
    readings: dict[int, tuple[int, DatasetFacts]] = {}
    for pair in pairs:
        label_facts = pair.facts or facts
        readings.setdefault(id(label_facts), (len(readings), label_facts))
    # The text of one JSON list, a pair at a time because there may be millions.
    texts = [_reading(label_facts) for _, label_facts in readings.values()]
    digest = hashlib.sha256(f"[{_FORMAT}, {json.dumps(texts)}, [".encode())
    separator = ""
    for pair in pairs:
        files = [[p.name, *_size_and_time(p)] for p in pair.files]
        number, _ = readings[id(pair.facts or facts)]
        text = separator + json.dumps([pair.name, files, number])
        digest.update(text.encode())
        separator = ", "
    digest.update(b"]]")
    return digest.hexdigest()


def _reading(facts: DatasetFacts) -> list:
    """Returns what the facts say about the reading of labels, as JSON values."""
    colours = [list(colour) for colour in facts.label_colours]
    return [facts.classes, facts.id_map, colours]


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def write_note(path: Path, source: str, shard: Shard, histogram: np.ndarray) -> None:
    """Writes the note of a shard, whole or not at all.

    Args:
        path: path of the shard.
        source: fingerprint of its sources.
        shard: its entry in the manifest.
        histogram: pixels per training id, int64 (256,).
    """
    note = {"source": source, "shard": asdict(shard), "histogram": histogram.tolist()}
    write_text(_note_path(path), json.dumps(sealed(note)))


def read_note(path: Path, source: str) -> tuple[Shard, np.ndarray] | None:
    """Reads the shard's entry and histogram that `write_note` wrote.

    Returns:
        None when the shard has to be made again: when there is no note, when the note
        is about other sources, or when the shard's bytes have changed.
    """
    try:
        note = unsealed(json.loads(_note_path(path).read_text(encoding="utf-8")))
        shard = Shard(**note["shard"])
        histogram = np.array(note["histogram"], np.int64)
        is_valid = (
            note["source"] == source
            and histogram.shape == (256,)
            and path.stat().st_size == shard.num_bytes
            and file_sha256(path) == shard.sha256
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (shard, histogram) if is_valid else None


def _note_path(path: Path) -> Path:
    return path.with_name(path.name + NOTE)
