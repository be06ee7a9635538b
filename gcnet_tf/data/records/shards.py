"""The TFRecord files of a split: their schema, writing and decoding."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.data.catalog import IGNORE_LABEL, DatasetFacts
from gcnet_tf.data.compact import View, hashes
from gcnet_tf.data.records.finished import NOTE, fingerprint, read_note, write_note
from gcnet_tf.data.records.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    packed_segments,
    read_manifest,
    write_manifest,
)
from gcnet_tf.data.records.samples import EncodedSample, encode_pair
from gcnet_tf.data.records.threads import threads
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import PARTIAL, new_file
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.names import to_bytes
from gcnet_tf.files.remote.addresses import require_local

__all__ = [
    "Manifest",
    "Shard",
    "decode_sample",
    "parse_example",
    "read_manifest",
    "write_records",
]

SHARD_BYTES = 128 * 2**20
# Shuffling starts with the order of the shards, so even a small set needs several.
MIN_SHARDS = 8
# Least size of what shuffling reads at a place of its own. Less would make reading at
# random places of a disk slow.
SEGMENT_BYTES = 2**20
# Length and checksums around each record in a TFRecord file.
RECORD_FRAME_BYTES = 16

_SCHEMA = {
    **{key: tf.io.FixedLenFeature([], tf.string) for key in ("image", "label", "name")},
    # Absent where it is 1, as in all records of older versions.
    "orientation": tf.io.FixedLenFeature([], tf.int64, default_value=1),
}


def write_records(
    pairs: Sequence[Pair],
    directory: str | Path,
    split: str,
    facts: DatasetFacts,
    *,
    num_workers: int | None = None,
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
    folder = Path(directory) / split
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = _write_split(
            pairs[:limit], folder, split, facts, num_workers, shard_bytes, progress
        )
        manifest = replace(
            manifest, made_with=made_with or {}, limit=limit, source=source
        )
        write_manifest(manifest, folder)
        _clear(folder, split, {shard.file for shard in manifest.shards})
        for note in folder.glob(f"*{NOTE}"):
            note.unlink()
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"Cannot write records to {folder}: {error}. Check the free space and the "
            "permissions there, or set data.records to another folder."
        ) from error
    return manifest


def _kept_files(folder: Path, split: str) -> set[str]:
    """Returns the names of the files of the records that the split has until now."""
    if not (folder / MANIFEST_FILE).exists():
        return set()
    try:
        manifest = read_manifest(folder.parent, split, check_files=False)
    except UserError:  # a damaged manifest says of no file that it is not needed
        return {path.name for path in folder.iterdir()}
    return {shard.file for shard in manifest.shards}


def _clear(folder: Path, split: str, kept: set[str]) -> None:
    """Removes the shards, notes and unfinished files but those of the kept shards."""
    for path in [*folder.glob(f"{split}-*.tfrecord*"), *folder.glob(f"{PARTIAL}*")]:
        if path.name.removesuffix(NOTE) not in kept:
            path.unlink(missing_ok=True)


def _write_split(
    pairs: Sequence[Pair],
    folder: Path,
    split: str,
    facts: DatasetFacts,
    num_workers: int | None,
    shard_bytes: int,
    progress: bool,
) -> Manifest:
    pairs_by_shard = _deal_out(pairs, shard_bytes)
    sources = [fingerprint(shard_pairs, facts) for shard_pairs in pairs_by_shard]
    # The source is part of the name, so that new records never have the name of others
    # that a running training still opens.
    paths = [
        folder / f"{split}-{number:05d}-of-{len(sources):05d}-{source[:8]}.tfrecord"
        for number, source in enumerate(sources)
    ]
    _clear(folder, split, {path.name for path in paths} | _kept_files(folder, split))
    histogram = np.zeros(256, np.int64)
    shards = []
    bar = tqdm(
        total=len(pairs), desc=split, unit="image", disable=None if progress else True
    )
    with bar, threads(num_workers) as in_order:
        for path, source, shard_pairs in zip(paths, sources, pairs_by_shard):
            finished = read_note(path, source)
            if finished:
                bar.update(len(shard_pairs))
            else:
                samples = in_order(lambda pair: encode_pair(pair, facts), shard_pairs)
                finished = _write_shard(path, shard_pairs, samples, bar)
                write_note(path, source, *finished)
            shards.append(finished[0])
            histogram += finished[1]
    return Manifest(
        dataset=facts.name,
        split=split,
        classes=facts.classes,
        num_samples=len(pairs),
        class_histogram=tuple(histogram[: facts.num_classes].tolist()),
        num_ignored_pixels=int(histogram[IGNORE_LABEL]),
        shards=tuple(shards),
    )


def _deal_out(pairs: Sequence[Pair], shard_bytes: int) -> list[View[Pair]]:
    """Divides the pairs into mixed shards of equal length.

    Sources are often sorted by scene or city. Sorting by a hash of the name mixes them
    in the same way on every machine, and dealing out makes the shards equally long.
    """
    num_bytes = sum(_source_bytes(pair) for pair in pairs)
    num_shards = max(MIN_SHARDS, -(-num_bytes // shard_bytes))
    num_shards = min(num_shards, len(pairs))
    mixed = np.argsort(hashes(pair.name for pair in pairs), kind="stable")
    return [View(pairs, order=mixed[first::num_shards]) for first in range(num_shards)]


def _source_bytes(pair: Pair) -> int:
    try:
        # A file of annotations may hold those of all images.
        files = pair.files if isinstance(pair.label, Path) else (pair.image,)
        return sum(path.stat().st_size for path in files)
    except OSError as error:
        raise UserError(f"Cannot read the sample {pair.name}: {error}.") from error


def _write_shard(
    path: Path,
    pairs: Sequence[Pair],
    samples: Iterator[EncodedSample],
    bar: tqdm,
) -> tuple[Shard, np.ndarray]:
    """Writes one file.

    Returns:
        Its entry in the manifest, and its pixels per training id, int64 (256,).
    """
    histogram = np.zeros(256, np.int64)

    def records() -> Iterator[bytes]:
        nonlocal histogram
        for pair, sample in zip(pairs, samples, strict=True):
            yield _serialize(pair.name, sample)
            histogram += sample.histogram
            bar.update()

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


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Splits a record into its features, without decoding them.

    Args:
        serialized: scalar string, one record.

    Returns:
        Scalar strings: "image", an encoded JPEG or PNG; "label", an encoded 8-bit grey
        PNG of training ids; "name". A scalar int64: "orientation", the EXIF orientation
        of the image's pixels.
    """
    return tf.io.parse_single_example(serialized, _SCHEMA)


def decode_sample(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes the features that `parse_example` returns.

    Args:
        example: the features.

    Returns:
        "image": uint8 (height, width, 3) upright RGB, the same values as from
            Pillow and cv2;
        "label": uint8 (height, width), training ids, 255 where ignored;
        "name": scalar string.
    """
    encoded = example["image"]
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        # TensorFlow's default, the fast transform, is up to 5 levels off.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
    image = upright(image, example["orientation"])
    image.set_shape([None, None, 3])
    # channels=1 gives the ids because a stored label is a grey PNG; a palette PNG would
    # give the brightness of its colours.
    label = tf.io.decode_png(example["label"], channels=1)
    return {"image": image, "label": label[:, :, 0], "name": example["name"]}


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors (height, width, 3) as an EXIF orientation from 1 to 8 says."""

    def turned():
        # Of pixels that are transposed first, where the orientation says so.
        transposed = tf.cond(
            orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image
        )
        backwards = [
            tf.reduce_any(tf.equal(orientation, values))
            for values in ((3, 4, 7, 8), (2, 3, 6, 7))
        ]
        # Slices of negative steps would take four times as long.
        return tf.reverse(transposed, tf.boolean_mask([0, 1], backwards))

    return tf.cond(orientation > 1, turned, lambda: image)
