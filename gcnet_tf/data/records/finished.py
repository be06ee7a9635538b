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
