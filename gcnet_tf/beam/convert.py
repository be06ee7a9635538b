"""The conversion of a split by Beam: the same shards, notes and manifest as locally.

Two pipelines, with the number of shards between them. The first one measures the files,
by which shards have their size, and counts the names that begin with the same bits of
their hash. From the counts every name gets its place in the order of all hashes, and so
its shard, without a list of them. The second pipeline brings together the pairs of each
shard, and writes it by the function that threads call in the local conversion. What is
finished has a note beside it, as there, so that a second run goes on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from gcnet_tf.beam.counts import failure, measured, scratch_folder, totals
from gcnet_tf.beam.engine import Engine
from gcnet_tf.beam.names import (
    Facts,
    group_bits,
    grouped,
    packed,
    unpacked,
    write_pairs,
)
from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.records.finished import (
    Conversion,
    fingerprint,
    shard_path,
    shards_of,
)
from gcnet_tf.data.records.manifest import Shard
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError


class Plan(NamedTuple):
    """The work of one split, as workers get it.

    Attributes:
        folder: of the split's records.
        split: name of the split.
        facts: of pairs without own ones.
        own_facts: those of the pairs, by number.
        bits: number of bits that a group shares.
        starts: number of names before each group, in the order of all.
        num_shards: number of shards.
    """

    folder: Path
    split: str
    facts: DatasetFacts
    own_facts: Facts
    bits: int
    starts: Sequence[int]
    num_shards: int


def conversion_by(engine: Engine) -> Conversion:
    """Returns the conversion for `ensure_records` that an engine does.

    All workers must see the folders of the source and of the records by the same paths.
    """

    def convert(
        pairs: Sequence[Pair],
        folder: Path,
        split: str,
        facts: DatasetFacts,
        shard_bytes: int,
    ) -> tuple[list[Shard], np.ndarray]:
        with scratch_folder(folder) as scratch:
            bits = group_bits(len(pairs))
            files, own_facts = write_pairs(pairs, scratch / "pairs")
            counts = totals(
                engine,
                files,
                lambda names: names | beam.Map(measured, bits),
                scratch / "measured.json",
            )
            if counts["failures"]:
                raise UserError(counts["failures"][0][1])
            num_shards = shards_of(len(pairs), counts["num_bytes"], shard_bytes)
            starts = np.cumsum([0, *counts["groups"][:-1]]).tolist()
            plan = Plan(
                folder.resolve(), split, facts, own_facts, bits, starts, num_shards
            )
            result = totals(
                engine,
                files,
                lambda names: (
                    names
                    | "Read" >> beam.FlatMap(_packets, plan)
                    | "By hash" >> beam.GroupByKey()
                    | "Deal out" >> beam.FlatMap(_dealt_out, plan)
                    | "By shard" >> beam.GroupByKey()
                    | "Write" >> beam.Map(_shard, plan)
                ),
                scratch / "result.json",
            )
        _require_whole(result, num_shards)
        shards = [Shard(**shard) for _, shard in sorted(result["shards"])]
        return shards, np.array(result["histogram"], np.int64)

    return convert


def _require_whole(result: dict[str, Any], num_shards: int) -> None:
    """Checks that all shards are there.

    Raises:
        UserError: when a file is bad, or the engine has lost a shard.
    """
    if result["failures"]:
        ((_, first),) = result["failures"]
        others = result["num_failures"] - 1
        text = f" There are bad files in {others} more shard(s), too." if others else ""
        raise UserError(first + text)
    numbers = sorted(number for number, _ in result["shards"])
    if numbers != list(range(num_shards)):
        raise UserError(
            f"The engine returned {len(numbers)} shards instead of {num_shards}; run "
            "the same command again, or without --runner."
        )


def _packets(file: str, plan: Plan) -> Iterator[tuple[int, bytes]]:
    for group, rows in grouped(file, plan.bits).items():
        yield group, packed(rows)


def _dealt_out(
    group: tuple[int, Iterable[bytes]], plan: Plan
) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Deals the rows of a group out to the shards.

    Yields:
        A shard, and its rows in order with the place of the first; they lie together.
    """
    number, packets = group
    rows = sorted(chain.from_iterable(map(unpacked, packets)), key=itemgetter(0))
    start, step = plan.starts[number], plan.num_shards
    for first in range(min(step, len(rows))):
        place, shard = divmod(start + first, step)
        yield shard, (place, packed([row for _, row in rows[first::step]]))


def _shard(
    dealt: tuple[int, Iterable[tuple[int, bytes]]], plan: Plan
) -> dict[str, Any]:
    """Writes a shard; returns its entry and pixels, or a sentence about what is bad.

    A bad file would fail each time, and engines try again what raises an error.
    """
    # Only workers need TensorFlow, which takes ten seconds and half a gigabyte.
    from gcnet_tf.data.records.shards import finished_shard

    number, packets = dealt
    rows = chain.from_iterable(unpacked(packet) for _, packet in sorted(packets))
    pairs = [row.pair(plan.own_facts) for row in rows]
    try:
        source = fingerprint(pairs, plan.facts)
        path = shard_path(plan.folder, plan.split, number, plan.num_shards, source)
        shard, histogram = finished_shard(path, source, pairs, plan.facts)
    except UserError as error:
        return failure(number, error)
    except OSError as error:
        return failure(number, UserError(f"A worker cannot write shards: {error}."))
    return {"shards": [(number, asdict(shard))], "histogram": histogram.tolist()}
