"""The TFRecord files of a split: the writing of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.compact import View, hashes
from gcnet_tf.data.records.finished import (
    Conversion,
    clear,
    fingerprint,
    kept_files,
    read_note,
    shard_path,
    shards_of,
    write_note,
    write_records,
)
from gcnet_tf.data.records.manifest import (
    Manifest,
    Shard,
    packed_segments,
    read_manifest,
)
from gcnet_tf.data.records.reading import decode_sample, parse_example
from gcnet_tf.data.records.samples import EncodedSample, encode_pair
from gcnet_tf.data.records.source import source_bytes
from gcnet_tf.data.records.threads import threads
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.files.atomic import new_file
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.names import to_bytes

__all__ = [
    "Manifest",
    "Shard",
    "decode_sample",
    "parse_example",
    "read_manifest",
    "write_records",
]

# Least size of what shuffling reads at a place of its own. Less would make reading at
# random places of a disk slow.
SEGMENT_BYTES = 2**20
# Length and checksums around each record in a TFRecord file.
RECORD_FRAME_BYTES = 16


def conversion_by_threads(num_workers: int | None, progress: bool) -> Conversion:
    """Returns the conversion that threads do, `num_workers` or one per core."""
    return partial(_convert, num_workers, progress)


def _convert(
    num_workers: int | None,
    progress: bool,
    pairs: Sequence[Pair],
    folder: Path,
    split: str,
    facts: DatasetFacts,
    shard_bytes: int,
) -> tuple[list[Shard], np.ndarray]:
    pairs_by_shard = _deal_out(pairs, shard_bytes)
    sources = [fingerprint(shard_pairs, facts) for shard_pairs in pairs_by_shard]
    paths = [
        shard_path(folder, split, number, len(sources), source)
        for number, source in enumerate(sources)
    ]
    clear(folder, split, {path.name for path in paths} | kept_files(folder, split))
    histogram = np.zeros(256, np.int64)
    shards = []
    bar = tqdm(
        total=len(pairs), desc=split, unit="image", disable=None if progress else True
    )
    with bar, threads(num_workers) as in_order:
        for path, source, shard_pairs in zip(paths, sources, pairs_by_shard):
            shard, pixels = finished_shard(
                path, source, shard_pairs, facts, in_order, bar.update
            )
            shards.append(shard)
            histogram += pixels
    return shards, histogram


def finished_shard(
    path: Path,
    source: str,
    pairs: Sequence[Pair],
    facts: DatasetFacts,
    in_order: Callable[[Callable, Iterable], Iterator[Any]] = map,
    update: Callable[[int], Any] = lambda number: None,
) -> tuple[Shard, np.ndarray]:
    """Writes a shard and its note, unless a killed run has finished it.

    Args:
        path: its path.
        source: the fingerprint of its pairs.
        pairs: its pairs.
        facts: the facts of those that have none.
        in_order: a `map` that encodes them.
        update: is called with the number of pairs that are done.

    Returns:
        Its entry in the manifest, and its pixels per training id, int64 (256,).

    Raises:
        UserError: at the first bad file.
        OSError: when it cannot be written.
    """
    finished = read_note(path, source)
    if finished:
        update(len(pairs))
        return finished
    samples = in_order(lambda pair: encode_pair(pair, facts), pairs)
    try:
        finished = _write_shard(path, pairs, samples, update)
    except tf.errors.OpError as error:
        raise OSError(str(error)) from error
    write_note(path, source, *finished)
    return finished


def _deal_out(pairs: Sequence[Pair], shard_bytes: int) -> list[View[Pair]]:
    """Divides the pairs into mixed shards of equal length.

    Sources are often sorted by scene or city. Sorting by a hash of the name mixes them
    in the same way on every machine, and dealing out makes the shards equally long.
    """
    num_bytes = sum(source_bytes(pair) for pair in pairs)
    num_shards = shards_of(len(pairs), num_bytes, shard_bytes)
    mixed = np.argsort(hashes(pair.name for pair in pairs), kind="stable")
    return [View(pairs, order=mixed[first::num_shards]) for first in range(num_shards)]


def _write_shard(
    path: Path,
    pairs: Sequence[Pair],
    samples: Iterator[EncodedSample],
    update: Callable[[int], Any],
) -> tuple[Shard, np.ndarray]:
    histogram = np.zeros(256, np.int64)

    def records() -> Iterator[bytes]:
        nonlocal histogram
        for pair, sample in zip(pairs, samples, strict=True):
            yield _serialize(pair.name, sample)
            histogram += sample.histogram
            update(1)

    with new_file(path) as partial:
        shard = write_shard(partial, records())
    return replace(shard, file=path.name), histogram


def write_shard(
    path: Path, records: Iterable[bytes], segment_lengths: Sequence[int] | None = None
) -> Shard:
    """Writes records into a file.

    Args:
        path: the file.
        records: the serialized records.
        segment_lengths: number of records in each segment; None for segments of at
            least `SEGMENT_BYTES`.

    Returns:
        The file's entry in the manifest.
    """
    lengths = None if segment_lengths is None else list(segment_lengths)
    segments: list[tuple[int, int]] = []
    count, num_bytes = 0, 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
            count += 1
            num_bytes += len(record) + RECORD_FRAME_BYTES
            is_full = num_bytes >= SEGMENT_BYTES
            if is_full if lengths is None else count == lengths[len(segments)]:
                segments.append((count, num_bytes))
                count, num_bytes = 0, 0
    if count:
        segments.append((count, num_bytes))
    return Shard(
        path.name,
        sum(length for length, _ in segments),
        path.stat().st_size,
        file_sha256(path),
        packed_segments(segments),
    )


def _serialize(name: str, sample: EncodedSample) -> bytes:
    image = sample.image
    values = {"image": image.file_bytes, "label": sample.label, "name": to_bytes(name)}
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in values.items()
    }
    if image.orientation != 1:
        number = tf.train.Int64List(value=[image.orientation])
        features["orientation"] = tf.train.Feature(int64_list=number)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Otherwise protobuf may order the features differently in another process.
    return example.SerializeToString(deterministic=True)
