"""Notes beside finished shards, so that a killed conversion can continue.

A note says from which sources a shard was made and what the shard holds. It is removed
when the manifest is written, which says the same of the whole split.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.records.manifest import Shard
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.files.atomic import write_text
from gcnet_tf.files.checksum import file_sha256, sealed, unsealed

NOTE = ".note.json"

# To be increased when the code makes other records of the same sources, so that shards
# of older code are not kept.
_FORMAT = 2


def fingerprint(pairs: Sequence[Pair], facts: DatasetFacts) -> str:
    """Returns a hash of a shard's sources without reading them.

    It covers each file's name, size and time of change, and the facts that labels are
    read with.
    """
    # By the id of the facts, because many pairs share the same object.
    readings: dict[int, list] = {}
    sources = []
    for pair in pairs:
        label_facts = pair.facts or facts
        if id(label_facts) not in readings:
            colours = [list(colour) for colour in label_facts.label_colours]
            readings[id(label_facts)] = [
                label_facts.classes,
                label_facts.id_map,
                colours,
            ]
        files = [[p.name, *_size_and_time(p)] for p in pair.files]
        sources.append([pair.name, files, list(readings).index(id(label_facts))])
    text = json.dumps([_FORMAT, list(readings.values()), sources])
    return hashlib.sha256(text.encode()).hexdigest()


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
