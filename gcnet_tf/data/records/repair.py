"""Reading a split on without its damaged records."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.data.records.damage import (
    Damage,
    DamagedData,
    find_damage,
    read_shard,
    warn_of,
)
from gcnet_tf.data.records.manifest import Manifest, read_manifest, write_manifest
from gcnet_tf.data.records.shards import write_shard
from gcnet_tf.errors import UserError, first_line, some
from gcnet_tf.files.names import to_bytes

# Collects a value for JSON, or None, of every worker; returns the same list on all.
Gather = Callable[[Any], list[Any]]


class Repair:
    """The repair of a split's damaged records while they are read.

    `data.on_error` decides whether reading goes on with repaired records. Workers that
    read together repair the same samples, whichever met them and whether or not they
    have copies of their own, so that they go on with the same data. A context manager:
    at its end the repaired files are removed.

    Attributes:
        config: names records that can be read, as far as is known.
        damaged: all damaged samples that were found.
    """

    def __init__(
        self,
        config: Config,
        split: str,
        on_damage: Callable[[list[Damage]], None] = warn_of,
        gather: Gather = lambda value: [value],
    ):
        """Starts with the records of `config`.

        Args:
            config: names the records.
            split: name of the split.
            on_damage: gets the damaged samples of all workers, on all workers.
            gather: asks the workers that read together; by default there is one.
        """
        self.config = config
        self.damaged: list[Damage] = []
        self._original = config
        self._split = split
        self._on_damage = on_damage
        self._gather = gather
        self._folders = ExitStack()

    def needed(self, error: Exception | None) -> bool:
        """Tells whether any worker has met damage; then all must begin again.

        All workers must call it after the same reads, before they use what was read.
        Only those that have met an error search their records. When it returns True,
        the damaged records are replaced in `config`.

        Args:
            error: one of `READ_ERRORS`, which has ended the reading of this worker;
                None where it can read on.

        Raises:
            DamagedData: on all workers, when data.on_error is "stop".
            Exception: `error` itself, when no further record is damaged.
            UserError: on the other workers in that case.
        """
        report = None
        if error is not None:
            damaged = find_damage(self._original, self._split)
            report = {"damaged": list(map(asdict, damaged)), "error": first_line(error)}
        reports = self._gather(report)
        if not any(reports):
            return False
        found = _merged(reports)
        if found.keys() <= {_place(damage) for damage in self.damaged}:
            raise error or _failed_elsewhere(self._split, reports)
        known = {_place(damage): damage for damage in self.damaged}
        self.damaged = sorted({**found, **known}.values(), key=_place)
        self._on_damage(self.damaged)
        if self._original.data.on_error == "stop":
            raise DamagedData(self.damaged)
        # Kept until the end, because the running input still reads the earlier files.
        folder = Path(self._folders.enter_context(tempfile.TemporaryDirectory()))
        self.config = repaired(self._original, self._split, self.damaged, folder)
        return True

    def close(self) -> None:
        """Removes the repaired files."""
        self._folders.close()

    def __enter__(self) -> "Repair":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _place(damage: Damage) -> tuple[str, int]:
    return damage.file, damage.index


def _merged(reports: Sequence[dict | None]) -> dict[tuple[str, int], Damage]:
    """Merges the damage that workers report; of several, it names the first finder."""
    found: dict[tuple[str, int], Damage] = {}
    for number, report in enumerate(reports):
        for values in report["damaged"] if report else ():
            damage = Damage(**values)
            if len(reports) > 1:
                reason = f"{damage.reason} (found by worker {number})"
                damage = replace(damage, reason=reason)
            found.setdefault(_place(damage), damage)
    return found


def _failed_elsewhere(split: str, reports: Sequence[dict | None]) -> UserError:
    errors = [
        f"worker {number} cannot read the records of {split}, and none is damaged: "
        f"{report['error']}"
        for number, report in enumerate(reports)
        if report
    ]
    return UserError(f"{some(errors, separator='; ')}. Look at the disk there.")


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
        records = [record for record, _ in read_shard(source, shard)]
        for index, damage in by_file[shard.file].items():
            record = _substitute(source, manifest, by_file, shard_number, index)
            if split != "train":
                record = _without_labels(record, damage.name)
            records[index] = record
        # Segments of the same lengths, so that the order of the samples stays.
        lengths = shard.segment_table()[:, 0].tolist()
        copy = write_shard(target / shard.file, records, lengths or [len(records)])
        shards.append(copy if lengths else replace(copy, segments=""))
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
            return read_shard(source, shard)[(later or intact)[0]][0]
    raise UserError(f"No sample of the records in {source} can be read.")


def _without_labels(serialized: bytes, name: str) -> bytes:
    """Returns a record with another name and a label of 255, which counts nowhere."""
    example = tf.train.Example.FromString(serialized)
    feature = example.features.feature
    label = tf.io.decode_png(feature["label"].bytes_list.value[0])
    unlabelled = tf.fill(tf.shape(label), tf.constant(IGNORE_LABEL, tf.uint8))
    feature["label"].bytes_list.value[0] = tf.io.encode_png(unlabelled).numpy()
    feature["name"].bytes_list.value[0] = to_bytes(name)
    return example.SerializeToString(deterministic=True)
