"""Damaged records: finding, naming and, where training goes on, replacing them.

TensorFlow checks every record that it reads and stops at the first damaged one, with a
message that names neither the file nor the image. Only then does this module check all
records.
"""

import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.records.manifest import (
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from gcnet_tf.data.records.shards import decode_sample, parse_example
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.processor import num_cores

# Errors that tf.data raises for records that it cannot read or decode.
READ_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnknownError,
)
# The header of a record is its length and a checksum of the length. The footer is a
# checksum of the record.
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4


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


class Repair:
    """The repair of a split's damaged records while they are read.

    `data.on_error` decides whether reading goes on with repaired records. A context
    manager: at its end the repaired files are removed.

    Attributes:
        config: names records that can be read, as far as is known.
        damaged: the damaged samples that were found last.
    """

    def __init__(
        self,
        config: Config,
        split: str,
        on_damage: Callable[[list[Damage]], None] = warn_of,
    ):
        """Starts with the records of `config`; `on_damage` gets the damaged samples."""
        self.config = config
        self.damaged: list[Damage] = []
        self._original = config
        self._split = split
        self._on_damage = on_damage
        self._folders = ExitStack()

    def find(self, error: Exception) -> None:
        """Finds the damaged records that caused `error`, one of `READ_ERRORS`.

        Raises:
            Exception: `error` itself, when no further record is damaged.
        """
        damaged = find_damage(self._original, self._split)
        if damaged == self.damaged:
            raise error
        self.damaged = damaged

    def go_on(self) -> None:
        """Replaces the damaged records in `config`.

        Raises:
            DamagedData: when data.on_error is "stop".
        """
        if not self.damaged:  # only another worker has met them
            self.damaged = find_damage(self._original, self._split)
        self._on_damage(self.damaged)
        if self._original.data.on_error == "stop":
            raise DamagedData(self.damaged)
        # Kept until the end, because the running input still reads the earlier files.
        folder = Path(self._folders.enter_context(tempfile.TemporaryDirectory()))
        self.config = repaired(self._original, self._split, self.damaged, folder)

    def close(self) -> None:
        """Removes the repaired files."""
        self._folders.close()

    def __enter__(self) -> "Repair":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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
    damaged = []
    bar = tqdm(
        total=manifest.num_samples,
        desc=f"check {split}",
        unit="record",
        leave=False,
        disable=None,
    )
    with bar, ThreadPoolExecutor(num_cores()) as pool:
        for shard in manifest.shards:
            records = _read_shard(Path(config.data.records) / split, shard)
            for index, (record, reason) in enumerate(pool.map(_try_decoding, records)):
                if reason:
                    name = _name_of(record)
                    damaged.append(Damage(shard.file, index, name, reason))
                bar.update()
    return damaged


def repaired(
    config: Config, split: str, damaged: Sequence[Damage], folder: Path
) -> Config:
    """Returns a configuration whose records of this split can be read.

    They are links to the intact files, and copies of the damaged ones. In a copy, a
    damaged sample is replaced by the next intact one of its file, so that the others
    keep their places. In a split other than train, the label of the replacement is 255
    everywhere, so that no metric counts it.

    Args:
        config: names the records.
        split: name of the split.
        damaged: the damaged samples that `find_damage` returned.
        folder: the folder for links and copies; must be new or empty.

    Raises:
        UserError: when no sample is intact.
    """
    manifest = read_manifest(config.data.records, split, check_files=False)
    source, target = Path(config.data.records) / split, folder / split
    target.mkdir(parents=True)
    by_file: dict[str, dict[int, Damage]] = {}
    for sample in damaged:
        by_file.setdefault(sample.file, {})[sample.index] = sample
    shards = []
    for shard_number, shard in enumerate(manifest.shards):
        if shard.file not in by_file:
            (target / shard.file).symlink_to((source / shard.file).resolve())
            shards.append(shard)
            continue
        records = [record for record, _ in _read_shard(source, shard)]
        with tf.io.TFRecordWriter(str(target / shard.file)) as writer:
            for index, record in enumerate(records):
                if damage := by_file[shard.file].get(index):
                    record = _substitute(source, manifest, by_file, shard_number, index)
                    if split != "train":
                        record = _without_labels(record, damage.name)
                writer.write(record)
        path = target / shard.file
        shards.append(
            replace(shard, num_bytes=path.stat().st_size, sha256=file_sha256(path))
        )
    write_manifest(replace(manifest, shards=tuple(shards)), target)
    return replace(config, data=replace(config.data, records=str(folder)))


def _substitute(
    source: Path,
    manifest: Manifest,
    by_file: dict[str, dict[int, Damage]],
    shard_number: int,
    index: int,
) -> bytes:
    """Returns the first intact record after the damaged one.

    The search goes from the end of the damaged record's file on to its start, and then
    to the next files.

    Args:
        source: folder of the split.
        manifest: its manifest.
        by_file: damaged samples by file and index.
        shard_number: number of the damaged record's file in the manifest.
        index: number of the damaged record in its file.

    Raises:
        UserError: when no record is intact.
    """
    for shard in manifest.shards[shard_number:] + manifest.shards[:shard_number]:
        damaged = by_file.get(shard.file, {})
        intact = [i for i in range(shard.num_samples) if i not in damaged]
        if intact:
            later = [i for i in intact if i > index] if shard.file in by_file else []
            return _read_shard(source, shard)[(later or intact)[0]][0]
    raise UserError(f"No sample of the records in {source} can be read.")


def _without_labels(serialized: bytes, name: str) -> bytes:
    """Returns a record with another name and a label of 255, which counts nowhere."""
    example = tf.train.Example.FromString(serialized)
    feature = example.features.feature
    label = tf.io.decode_png(feature["label"].bytes_list.value[0])
    unlabelled = tf.fill(tf.shape(label), tf.constant(IGNORE_LABEL, tf.uint8))
    feature["label"].bytes_list.value[0] = tf.io.encode_png(unlabelled).numpy()
    feature["name"].bytes_list.value[0] = name.encode()
    return example.SerializeToString(deterministic=True)


def _read_shard(folder: Path, shard: Shard) -> list[tuple[bytes, str]]:
    """Reads the records of a file.

    Returns:
        For each record, its bytes and the description of its damage, "" for none.
    """
    try:
        file_bytes = (folder / shard.file).read_bytes()
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
        return [(b"", reason)] * shard.num_samples
    records: list[tuple[bytes, str]] = []
    position = 0
    while len(records) < shard.num_samples:
        intact = list(_until_damage(file_bytes[position:]))
        records += [(record, "") for record in intact]
        position += sum(map(_framed_bytes, intact))
        if len(records) >= shard.num_samples:
            break
        length = _length_at(file_bytes, position)
        if length is None:
            # Without the length, the start of the next record is unknown.
            garbled = (
                file_bytes[position + _HEADER.size :],
                "the file ends or is garbled",
            )
            records += [garbled] + [(b"", "behind a garbled record")] * (
                shard.num_samples - len(records) - 1
            )
            break
        start = position + _HEADER.size
        records.append((file_bytes[start : start + length], "its checksum is wrong"))
        position = start + length + _FOOTER_BYTES
    return records[: shard.num_samples]


def _until_damage(file_bytes: bytes) -> Iterator[bytes]:
    """Yields the records in front of the first damaged one, checked by TensorFlow."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(file_bytes)
        file.flush()
        try:
            yield from tf.data.TFRecordDataset(file.name).as_numpy_iterator()
        except READ_ERRORS:
            return


def _framed_bytes(record: bytes) -> int:
    return _HEADER.size + len(record) + _FOOTER_BYTES


def _length_at(file_bytes: bytes, position: int) -> int | None:
    """Returns the length in the header of a record.

    Returns:
        None when the length is damaged, or when the file ends before the record does.
    """
    if len(file_bytes) < position + _HEADER.size:
        return None
    length, checksum = _HEADER.unpack_from(file_bytes, position)
    is_valid = checksum == _masked_crc32c(file_bytes[position : position + 8])
    end = position + _HEADER.size + length + _FOOTER_BYTES
    return length if is_valid and end <= len(file_bytes) else None


def _masked_crc32c(data: bytes) -> int:
    """Returns the checksum of the TFRecord format; slow, so only for a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _try_decoding(record_and_reason: tuple[bytes, str]) -> tuple[bytes, str]:
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


def _name_of(record: bytes) -> str:
    """Returns the image's name in a damaged record; "" when it cannot be read."""
    try:
        return parse_example(record)["name"].numpy().decode()
    except (*READ_ERRORS, UnicodeDecodeError):
        return ""
