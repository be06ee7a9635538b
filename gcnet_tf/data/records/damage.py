"""Damaged records: found, named, and replaced where training goes on without them.

TensorFlow checks every record that it reads and stops at the first damaged one, with a
message that names neither the file nor the image. Only then are all of them looked at.
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

# What tf.data raises for records that it cannot read or decode.
READ_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnknownError,
)
# In front of a record: its length, and a checksum of that; behind it one of itself.
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4


@dataclass(frozen=True)
class Damage:
    """A sample that cannot be read.

    Attributes:
        file: the file of records.
        index: number of the record in it, from 0 on.
        name: the image's name as far as it can be read, else "".
        reason: what is wrong, in words.
    """

    file: str
    index: int
    name: str
    reason: str


class DamagedData(UserError):
    """Samples are damaged, and the configuration does not say to go on."""

    def __init__(self, damaged: Sequence[Damage]):
        super().__init__(
            f"{damage_text(damaged)}. Make the records again, "
            "scripts/make_tfrecords.py --cfg CONFIG --overwrite, or go on without "
            "these samples: --set data.on_error=skip (training: with --resume)."
        )


def damage_text(damaged: Sequence[Damage]) -> str:
    """Says how many samples are damaged, and names the first of them."""
    samples = (
        f"{damage.file}, record {damage.index} ({damage.name or 'name unreadable'}): "
        f"{damage.reason}"
        for damage in damaged
    )
    plural = "" if len(damaged) == 1 else "s"
    return f"{len(damaged)} damaged sample{plural}: {some(samples, separator='; ')}"


def warn_of(damaged: Sequence[Damage]) -> None:
    """Warns of damaged samples."""
    warnings.warn(f"{damage_text(damaged)}.", stacklevel=2)


class Repair:
    """Reads a split on without its damaged records, as `data.on_error` says.

    Use as a context; at its end the repaired files are removed.

    Attributes:
        config: names records that can be read, as far as it is known.
        damaged: what was found last.
    """

    def __init__(
        self,
        config: Config,
        split: str,
        on_damage: Callable[[list[Damage]], None] = warn_of,
    ):
        """Starts with the records of `config`; `on_damage` is told of damaged ones."""
        self.config = config
        self.damaged: list[Damage] = []
        self._original = config
        self._split = split
        self._on_damage = on_damage
        self._folders = ExitStack()

    def find(self, error: Exception) -> None:
        """Looks for the records behind one of `READ_ERRORS`.

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
        if not self.damaged:  # another worker has found them
            self.damaged = find_damage(self._original, self._split)
        self._on_damage(self.damaged)
        if self._original.data.on_error == "stop":
            raise DamagedData(self.damaged)
        # Until the end: input that is under way still reads the one before.
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
    """Raises one of `READ_ERRORS` when a file is missing or not as long as written.

    A file that ends between two records would only make the split shorter.
    """
    manifest = read_manifest(config.data.records, split, check_files=False)
    for shard in manifest.shards:
        path = Path(config.data.records) / split / shard.file
        if not path.is_file() or path.stat().st_size != shard.num_bytes:
            message = f"{path} does not have {shard.num_bytes} bytes"
            raise tf.errors.DataLossError(None, None, message)


def find_damage(config: Config, split: str) -> list[Damage]:
    """Reads and decodes a whole split and returns the samples that cannot be."""
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
            contents = _read_shard(Path(config.data.records) / split, shard)
            for index, (content, reason) in enumerate(pool.map(_decoded, contents)):
                if reason:
                    name = _name_of(content)
                    damaged.append(Damage(shard.file, index, name, reason))
                bar.update()
    return damaged


def repaired(
    config: Config, split: str, damaged: Sequence[Damage], folder: Path
) -> Config:
    """A configuration whose records of this split can be read.

    They are the old files, and copies of those with damage. A damaged sample is
    replaced by the next intact one of its file, so that the others keep their places;
    in a split other than train its label is 255 throughout, which no score counts.

    Args:
        config: names the records.
        split: which of them.
        damaged: what `find_damage` has found there.
        folder: gets links and copies; must be new or empty.

    Raises:
        UserError: when no sample is intact.
    """
    manifest = read_manifest(config.data.records, split, check_files=False)
    source, target = Path(config.data.records) / split, folder / split
    target.mkdir(parents=True)
    by_file: dict[str, dict[int, Damage]] = {}
    for each in damaged:
        by_file.setdefault(each.file, {})[each.index] = each
    shards = []
    for number, shard in enumerate(manifest.shards):
        if shard.file not in by_file:
            (target / shard.file).symlink_to((source / shard.file).resolve())
            shards.append(shard)
            continue
        contents = [content for content, _ in _read_shard(source, shard)]
        with tf.io.TFRecordWriter(str(target / shard.file)) as writer:
            for index, content in enumerate(contents):
                if damage := by_file[shard.file].get(index):
                    content = _substitute(source, manifest, by_file, number, index)
                    if split != "train":
                        content = _ignored(content, damage.name)
                writer.write(content)
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
    number: int,
    index: int,
) -> bytes:
    """The first intact record behind the damaged one, round to the file's start."""
    for shard in manifest.shards[number:] + manifest.shards[:number]:
        wrong = by_file.get(shard.file, {})
        intact = [i for i in range(shard.num_samples) if i not in wrong]
        if intact:
            behind = [i for i in intact if i > index] if shard.file in by_file else []
            return _read_shard(source, shard)[(behind or intact)[0]][0]
    raise UserError(f"No sample of the records in {source} can be read.")


def _ignored(serialized: bytes, name: str) -> bytes:
    """A record with another name and a label that counts nowhere."""
    example = tf.train.Example.FromString(serialized)
    feature = example.features.feature
    label = tf.io.decode_png(feature["label"].bytes_list.value[0])
    nothing = tf.fill(tf.shape(label), tf.constant(IGNORE_LABEL, tf.uint8))
    feature["label"].bytes_list.value[0] = tf.io.encode_png(nothing).numpy()
    feature["name"].bytes_list.value[0] = name.encode()
    return example.SerializeToString(deterministic=True)


def _read_shard(folder: Path, shard: Shard) -> list[tuple[bytes, str]]:
    """Of each record, its bytes and what is wrong with them, "" for nothing."""
    try:
        content = (folder / shard.file).read_bytes()
    except OSError as error:
        lost = f"the file cannot be read: {error.strerror}"
        return [(b"", lost)] * shard.num_samples
    records: list[tuple[bytes, str]] = []
    position = 0
    while len(records) < shard.num_samples:
        intact = list(_until_damage(content[position:]))
        records += [(each, "") for each in intact]
        position += sum(map(_framed_bytes, intact))
        if len(records) >= shard.num_samples:
            break
        length = _length_at(content, position)
        if length is None:
            # Where the next one starts is lost with the length.
            missing = (
                content[position + _HEADER.size :],
                "the file ends or is garbled",
            )
            records += [missing] + [(b"", "behind a garbled record")] * (
                shard.num_samples - len(records) - 1
            )
            break
        start = position + _HEADER.size
        records.append((content[start : start + length], "its checksum is wrong"))
        position = start + length + _FOOTER_BYTES
    return records[: shard.num_samples]


def _until_damage(content: bytes) -> Iterator[bytes]:
    """The records in front of the first damaged one, checked by TensorFlow."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            yield from tf.data.TFRecordDataset(file.name).as_numpy_iterator()
        except READ_ERRORS:
            return


def _framed_bytes(record: bytes) -> int:
    return _HEADER.size + len(record) + _FOOTER_BYTES


def _length_at(content: bytes, position: int) -> int | None:
    """The length in front of a record; None when it is damaged or reaches too far."""
    if len(content) < position + _HEADER.size:
        return None
    length, checksum = _HEADER.unpack_from(content, position)
    holds = checksum == _masked_crc32c(content[position : position + 8])
    end = position + _HEADER.size + length + _FOOTER_BYTES
    return length if holds and end <= len(content) else None


def _masked_crc32c(content: bytes) -> int:
    """The checksum of the TFRecord format; slow, for a few bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _decoded(record: tuple[bytes, str]) -> tuple[bytes, str]:
    """The record, with what is wrong also where only decoding shows it."""
    content, reason = record
    if reason:
        return record
    try:
        image_size, label_size = _decoder()(content)
    except READ_ERRORS as error:
        return content, f"it cannot be decoded: {first_line(error)}"
    if tuple(image_size) != tuple(label_size):
        return content, "its image and label differ in size"
    return record


@cache
def _decoder():
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def sizes(serialized):
        sample = decode_sample(parse_example(serialized))
        return tf.shape(sample["image"])[:2], tf.shape(sample["label"])

    return sizes


def _name_of(content: bytes) -> str:
    """The image's name in a record that may be damaged; "" when it is not there."""
    try:
        return parse_example(content)["name"].numpy().decode()
    except (*READ_ERRORS, UnicodeDecodeError):
        return ""
