"""The counts of a pipeline, which workers add up, without loading TensorFlow."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from gcnet_tf.beam.engine import Engine, run
from gcnet_tf.beam.names import grouped
from gcnet_tf.data.records.source import source_bytes
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import PARTIAL, write_text

_SCRATCH = f"{PARTIAL}beam-"


def measured(file: str, bits: int) -> dict[str, Any]:
    """Measures the pairs of a file of `write_pairs`.

    Args:
        file: the file.
        bits: number of bits that a group shares.

    Returns:
        Bytes of their files, and number of pairs in each group; or the sentence about
        a file that has disappeared.
    """
    groups, num_bytes = [0] * 2**bits, 0
    try:
        for group, rows in grouped(file, bits).items():
            groups[group] = len(rows)
            # The facts of pairs do not matter here.
            pairs = (row._replace(facts=0).pair([None]) for _, row in rows)
            num_bytes += sum(map(source_bytes, pairs))
    except UserError as error:
        return failure(int(Path(file).name), error)
    return {"num_bytes": num_bytes, "groups": groups}


def failure(number: int, error: Exception) -> dict[str, Any]:
    """Returns the count of a part, of which this is the number, that has failed."""
    return {"num_failures": 1, "failures": [(number, str(error))]}


class Sums(beam.CombineFn):
    """Sums numbers and lists of numbers; joins shards; keeps the first failure."""

    def create_accumulator(self) -> dict[str, Any]:
        return {"shards": [], "failures": [], "num_failures": 0}

    def add_input(
        self, accumulator: dict[str, Any], element: dict[str, Any]
    ) -> dict[str, Any]:
        return _added(accumulator, element)

    def merge_accumulators(
        self, accumulators: Iterable[dict[str, Any]]
    ) -> dict[str, Any]:
        return reduce(_added, accumulators, self.create_accumulator())

    def extract_output(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        return accumulator


def _added(total: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Adds a part to a total, and returns the total."""
    for key, value in part.items():
        if key == "shards":
            total[key].extend(value)
        elif key == "failures":
            total[key] = sorted([*total[key], *value])[:1]
        elif isinstance(value, list):
            total[key] = np.add(total.get(key, 0), value).tolist()
        else:
            total[key] = total.get(key, 0) + value
    return total


def totals(
    engine: Engine, files: list[str], steps: Callable[[Any], Any], out: Path
) -> dict[str, Any]:
    """Runs steps on files, and returns the sums of the counts that they make.

    Args:
        engine: where they run.
        files: the elements of the first collection.
        steps: adds the steps to a collection, and returns that of the counts.
        out: a new file, which workers see, too.

    Raises:
        UserError: when the engine gives up.
    """
    run(
        engine,
        lambda pipeline: (
            steps(pipeline | beam.Create(files) | beam.Reshuffle())
            | beam.CombineGlobally(Sums()).without_defaults()
            | beam.Map(_write_result, str(out))
        ),
    )
    return json.loads(out.read_text(encoding="utf-8"))


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yields the path of a new folder in another one, without those of killed runs."""
    for left in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    scratch = folder.resolve() / f"{_SCRATCH}{uuid.uuid4().hex}"
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_result(result: dict[str, Any], out: str) -> None:
    # A worker that is taken for dead may write the same.
    own = f"{out}-{os.getpid()}"
    write_text(Path(own), json.dumps(result))
    os.replace(own, out)
