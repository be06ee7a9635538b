"""Notes beside finished shards, so that a killed conversion goes on where it was.

A note says from which sources a shard was made and what is in it. It only lives until
the manifest, which says the same of the whole split.
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

# To be raised when the same sources make other records, so that old shards are dropped.
_FORMAT = 1


def fingerprint(pairs: Sequence[Pair], facts: DatasetFacts) -> str:
    """A hash of what a shard is made of, without reading it.

    That is each file's name, size and time of change, and how labels are read.
    """
    readings: dict[int, list] = {}
    described = []
    for pair in pairs:
        reading = pair.facts or facts
        if id(reading) not in readings:
            colours = [list(colour) for colour in reading.label_colours]
            readings[id(reading)] = [reading.classes, reading.id_map, colours]
        files = [[p.name, *_state(p)] for p in (pair.image, pair.label)]
        described.append([pair.name, files, list(readings).index(id(reading))])
    text = json.dumps([_FORMAT, list(readings.values()), described])
    return hashlib.sha256(text.encode()).hexdigest()


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def write_note(path: Path, source: str, shard: Shard, histogram: np.ndarray) -> None:
    """Writes the note of a shard, whole or not at all.

    Args:
        path: the shard.
        source: its fingerprint.
        shard: what the manifest will say of it.
        histogram: pixels per training id, int64 (256,).
    """
    note = {"source": source, "shard": asdict(shard), "histogram": histogram.tolist()}
    write_text(_note(path), json.dumps(sealed(note)))


def read_note(path: Path, source: str) -> tuple[Shard, np.ndarray] | None:
    """What `write_note` wrote; None where the shard has to be made again.

    That is when there is no note, or one of other sources, or when the shard's bytes
    are not those that were written.
    """
    try:
        note = unsealed(json.loads(_note(path).read_text()))
        shard = Shard(**note["shard"])
        histogram = np.array(note["histogram"], np.int64)
        holds = (
            note["source"] == source
            and histogram.shape == (256,)
            and path.stat().st_size == shard.num_bytes
            and file_sha256(path) == shard.sha256
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (shard, histogram) if holds else None


def _note(path: Path) -> Path:
    return path.with_name(path.name + NOTE)
