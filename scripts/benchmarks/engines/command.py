"""The command `scripts/benchmark.py engines`, from its arguments to what it prints.

Processor time is measured, of all processes together, because it says what an image
costs whatever else the machine does. The difference between many and few images leaves
out what every start costs: TensorFlow's import, and the engine's own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.pipeline.voc_like import NUM_CLASSES, write_voc_like
from gcnet_tf.commands.cli import SCRIPTS
from gcnet_tf.data.records.manifest import read_manifest
from gcnet_tf.errors import UserError
from gcnet_tf.processor import processor

# Images that are drawn; the others are links to them.
_DRAWN = 200
_TWO = "--direct_num_workers 2 --direct_running_mode multi_processing"
ENGINES = {
    "local": "",
    "Beam, one process": "--runner DirectRunner",
    "Beam, two processes": f"--runner DirectRunner {_TWO}",
    "Beam on Dask": "--runner DaskRunner --dask_npartitions 8",
}


class Row(NamedTuple):
    """Costs of an engine.

    Attributes:
        engine: its name.
        per_core: images per second of processor time, without the start.
        start: seconds of processor time of the start.
        digest: hash of all records.
    """

    engine: str
    per_core: float
    start: float
    digest: str


def run(args: argparse.Namespace, start_tensorflow: Callable[[], None]) -> None:
    """Converts drawn images of Pascal VOC's size by each engine, and prints a table.

    Args:
        args: see `arguments.add_engines_arguments`.
        start_tensorflow: not called; the conversions are processes of their own.

    Raises:
        UserError: when a conversion fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = _source(Path(folder), args.images)
        rows = [
            _row(config, name, words.split(), args.images)
            for name, words in ENGINES.items()
        ]
    print(f"{processor()}; {args.images} images of 500x375\n\n{table(rows)}")


def table(rows: list[Row]) -> str:
    """Returns a table in Markdown; the first row is what the others are compared to."""
    lines = [
        "| engine | images/s and core | start, s of a core | records |",
        "|---|---|---|---|",
    ]
    for row in rows:
        same = "the same" if row.digest == rows[0].digest else "OTHERS"
        lines.append(
            f"| {row.engine} | {row.per_core:.0f} | {row.start:.0f} | {same} |"
        )
    return "\n".join(lines)


def _source(folder: Path, num_images: int) -> Path:
    """Makes the images; returns the path of their configuration."""
    write_voc_like(folder / "drawn", _DRAWN)
    for kind, ending in (("images", ".jpg"), ("labels", ".png")):
        for split, number in (("train", num_images), ("val", 1)):
            place = folder / "source" / split / kind
            place.mkdir(parents=True)
            for index in range(number):
                drawn = folder / "drawn" / "train" / kind
                target = drawn / f"{index % _DRAWN:05d}{ending}"
                (place / f"{index:07d}{ending}").symlink_to(target)
    data = {
        "dataset": "folder",
        "root": str(folder / "source"),
        "records": str(folder / "records"),
        "classes": [f"class{number}" for number in range(NUM_CLASSES)],
    }
    path = folder / "config.json"
    path.write_text(json.dumps({"data": data}), encoding="utf-8")
    return path


def _row(config: Path, name: str, words: list[str], num_images: int) -> Row:
    few = num_images // 10
    short, _ = _seconds(config, words, few)
    long, digest = _seconds(config, words, num_images)
    per_image = (long - short) / (num_images - few)
    return Row(name, 1 / per_image, short - few * per_image, digest)


def _seconds(config: Path, words: list[str], number: int) -> tuple[float, str]:
    """Converts images; returns the processor time, and a hash of the records."""
    command = [sys.executable, str(SCRIPTS / "make_tfrecords.py"), "--cfg", str(config)]
    command += ["--overwrite", "--split", "train", "--limit", str(number), *words]
    before = _used()
    ended = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=dict(os.environ)
    )
    if ended.returncode:
        raise UserError(f"{' '.join(command)} ended with: {ended.stderr.strip()}")
    seconds = _used() - before
    digest = read_manifest(config.parent / "records", "train").content_digest()
    return seconds, digest


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
