"""Damaged records: finding, naming and, where training goes on, replacing them.

TensorFlow checks every record that it reads and stops at the first damaged one, with a
message that names neither the file nor the image. Only then does this module check all
records.
"""

import os
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.records.manifest import Shard, read_manifest
from gcnet_tf.data.records.reading import records_from
from gcnet_tf.data.records.shards import decode_sample, parse_example
from gcnet_tf.data.records.threads import threads
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.files.names import from_bytes

# Errors that tf.data raises for records that it cannot read or decode.
READ_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnknownError,
    # TensorFlow quotes what it cannot parse, and then fails to decode its own message.
    UnicodeDecodeError,
)
# The header of a record is its length and a checksum of the length. The footer is a
# checksum of the record.
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_READ_BUFFER_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Damage:
    """A sample that cannot be read.

    Attributes:
        file: name of the file of records.
        index: number of the record in the file, from 0 on.
        name: name of the image; "" when it cannot be read.
        reason: description of the damage.
    """

    file: str
    index: int
    name: str
    reason: str


class DamagedData(UserError):
    """The error for damaged samples when data.on_error is "stop"."""

    def __init__(self, damaged: Sequence[Damage]):
        super().__init__(
            f"{damage_text(damaged)}. Make the records again with "
            "scripts/make_tfrecords.py --cfg CONFIG --overwrite, or go on without "
            "these samples: --set data.on_error=skip (training: with --resume)."
        )


def damage_text(damaged: Sequence[Damage]) -> str:
    """Returns the number of damaged samples and the description of the first ones."""
    samples = (
        f"{damage.file}, record {damage.index} ({damage.name or 'name unreadable'}): "
        f"{damage.reason}"
        for damage in damaged
    )
    plural = "" if len(damaged) == 1 else "s"
    return f"{len(damaged)} damaged sample{plural}: {some(samples, separator='; ')}"


def warn_of(damaged: Sequence[Damage]) -> None:
    """Warns of damaged samples and names the first ones."""
    warnings.warn(f"{damage_text(damaged)}.", stacklevel=2)


def check_sizes(config: Config, split: str) -> None:
    """Checks that every file exists and has the length with which it was written.

    TensorFlow does not notice a file that ends between two records: the split would
    only be shorter.

    Raises:
        DataLossError: one of `READ_ERRORS`, when a file is missing or has another
            length.
    """
    manifest = read_manifest(config.data.records, split, check_files=False)
    for shard in manifest.shards:
        path = Path(config.data.records) / split / shard.file
        if not path.is_file() or path.stat().st_size != shard.num_bytes:
            message = f"{path} does not have {shard.num_bytes} bytes"
            raise tf.errors.DataLossError(None, None, message)


def find_damage(config: Config, split: str) -> list[Damage]:
    """Reads and decodes a whole split and returns the samples for which that fails."""
    manifest = read_manifest(config.data.records, split, check_files=False)
    # Also where no bar is shown: it may take as long as an epoch.
    text = f"A record of {split} cannot be read: checking all {manifest.num_samples:,}"
    tqdm.write(text, file=sys.stderr)
    damaged = []
    bar = tqdm(
        total=manifest.num_samples,
        desc=f"check {split}",
        unit="record",
        leave=False,
        disable=None,
    )
    with bar, threads() as in_order:
        for shard in manifest.shards:
            records = read_shard(Path(config.data.records) / split, shard)
            for index, (record, reason) in enumerate(in_order(try_decoding, records)):
                if reason:
                    name = name_of(record)
                    damaged.append(Damage(shard.file, index, name, reason))
                bar.update()
    return damaged


def read_shard(folder: Path, shard: Shard) -> list[tuple[bytes, str]]:
    """Reads the records of a file.

    Returns:
        For each record, its bytes and the description of its damage, "" for none.
    """
    path = folder / shard.file
    try:
        with path.open("rb") as file:
            return _read_records(path, file, shard.num_samples)
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
        return [(b"", reason)] * shard.num_samples


def _read_records(
    path: Path, file: BinaryIO, num_records: int
) -> list[tuple[bytes, str]]:
    records: list[tuple[bytes, str]] = []
    position = 0
    while True:
        intact = list(_until_damage(path, position))
        records += [(record, "") for record in intact]
        if len(records) >= num_records:
            return records[:num_records]
        position += sum(map(_framed_bytes, intact))
        file.seek(position)
        length = _read_length(file)
        if length is None:
            # Without the length, the start of the next record is unknown.
            garbled = (file.read(), "the file ends or is garbled")
            num_behind = num_records - len(records) - 1
            return [*records, garbled, *[(b"", "behind a garbled record")] * num_behind]
        records.append((file.read(length), "its checksum is wrong"))
        position += _HEADER.size + length + _FOOTER_BYTES


def _until_damage(path: Path, position: int) -> Iterator[bytes]:
    """Yields the records in front of the first damaged one, checked by TensorFlow."""
    records = tf.data.Dataset.from_tensors(position).flat_map(
        lambda offset: records_from(str(path), offset, _READ_BUFFER_BYTES)
    )
    try:
        yield from records.as_numpy_iterator()
    except READ_ERRORS:
        return


def _framed_bytes(record: bytes) -> int:
    return _HEADER.size + len(record) + _FOOTER_BYTES


def _read_length(file: BinaryIO) -> int | None:
    """Reads the header of a record.

    Returns:
        The length of the record; None when the header is damaged, or when the file ends
        before the record does.
    """
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, checksum = _HEADER.unpack(header)
    is_valid = checksum == _masked_crc32c(header[:8])
    end = file.tell() + length + _FOOTER_BYTES
    return length if is_valid and end <= os.stat(file.fileno()).st_size else None


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum of the TFRecord format; slow, so only for a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def try_decoding(record_and_reason: tuple[bytes, str]) -> tuple[bytes, str]:
    """Returns a record with its damage, which may only show when it is decoded."""
    record, reason = record_and_reason
    if reason:
        return record, reason
    try:
        image_size, label_size = _sizes_function()(record)
    except READ_ERRORS as error:
        return record, f"it cannot be decoded: {first_line(error)}"
    if tuple(image_size) != tuple(label_size):
        return record, "its image and label differ in size"
    return record, ""


@cache
def _sizes_function():
    """Returns a function from a record to the sizes of its decoded image and label."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def sizes(serialized):
        sample = decode_sample(parse_example(serialized))
        return tf.shape(sample["image"])[:2], tf.shape(sample["label"])

    return sizes


def name_of(record: bytes) -> str:
    """Returns the image's name in a damaged record; "" when it cannot be read."""
    try:
        return from_bytes(parse_example(record)["name"].numpy())
    # TensorFlow's message may hold bytes of the record, which are no text.
    except (*READ_ERRORS, UnicodeDecodeError):
        return ""
