"""Prediction by Beam: the files that the command writes, and a JSON line per image.

The images go through the pipeline in packets, by `RunInference`, whose model is our
predictor. A prediction is there, or is made, as in the local way. An image that cannot
be segmented becomes a line with the reason, and the rest goes on. The lines of a packet
are a file, and all of them together `predictions.jsonl`, in the order of the names.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from os.path import splitext
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference
from PIL import Image

from gcnet_tf.beam.counts import scratch_folder, totals
from gcnet_tf.beam.engine import Engine
from gcnet_tf.beam.names import packed, unpacked
from gcnet_tf.data.compact import Rows, in_order
from gcnet_tf.data.sources.files import image_names
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.evaluation.load import load_predictor
from gcnet_tf.evaluation.prediction_files import (
    Task,
    check_files,
    record_of,
    write_prediction,
)
from gcnet_tf.evaluation.predictions import find_images, segment_missing
from gcnet_tf.files.atomic import new_file
from gcnet_tf.files.results import require_place
from gcnet_tf.runtime import Predictor

LINES = "predictions.jsonl"
# A packet is what a worker gets at a time, and loses when it dies.
_IMAGES_A_PACKET = 64
_OVERLAY = "_overlay"


@dataclass(frozen=True)
class Job:
    """The work, as workers get it.

    Attributes:
        source: an image, or a folder.
        out: the folder for the predictions.
        file_format: one of `FORMATS`.
        model: the `model_record` of the predictor.
        arguments: cfg, weights, model, overrides and mode of `load_predictor`.
    """

    source: Path
    out: Path
    file_format: str
    model: str
    arguments: tuple[Any, ...]


def write_predictions_by(engine: Engine, job: Job) -> dict[str, Any]:
    """Segments images by an engine, and writes the predictions that are missing.

    All workers must see the images, the model and the folder for the predictions by the
    same paths.

    Returns:
        "num_written", "num_present" and "num_failures"; "failures", a sentence about
        the first image that could not be segmented.

    Raises:
        UserError: when there are no images, two of them would have one prediction, the
            folder cannot be written, or the engine gives up.
    """
    rows = _rows(job)
    require_place(job.out / LINES)
    with scratch_folder(job.out) as scratch:
        (scratch / "lines").mkdir(parents=True)
        files = list(_written(rows, scratch))
        result = totals(
            engine,
            files,
            lambda packets: (
                packets
                # RunInference wants batches: here of one packet each.
                | "Batch" >> beam.Map(lambda file: [file])
                | RunInference(_Packets(job).with_no_batching())
                | beam.Map(_write_lines)
            ),
            scratch / "result.json",
        )
        with new_file(job.out / LINES) as partial, partial.open("wb") as lines:
            for file in files:
                with Path(f"{file}.jsonl").open("rb") as part:
                    shutil.copyfileobj(part, lines)
        return result


def _rows(job: Job) -> Rows:
    """Lists the images by their names without the ending, in order.

    Raises:
        UserError: when there are none, or two of them would have one prediction.
    """
    if not job.source.is_dir():
        (image,) = find_images(job.source)
        return Rows([(image.stem, image.name)])
    names = image_names(job.source)
    rows = Rows(in_order((splitext(name)[0], name) for name in names))
    if not rows:
        find_images(job.source)  # says what is allowed
    for stem, group in groupby(rows, itemgetter(0)):
        same = [name for _, name in islice(group, 2)]
        # A name may be that of an overlay.
        owner = stem.removesuffix(_OVERLAY) if job.file_format == "ids" else stem
        if owner != stem and (row := rows.find(owner)) and row[0] == owner:
            same.append(row[1])
        if len(same) > 1 and not any(_is_prediction(job, name) for name in same):
            raise UserError(
                f"The predictions of {same[0]} and {same[1]} in {job.source} would "
                "share a file; rename one of the images, or segment them into "
                "different folders."
            )
    return rows


def _is_prediction(job: Job, name: str) -> bool:
    return record_of(job.source / name) is not None


def _written(rows: Rows, scratch: Path) -> Iterator[str]:
    """Writes the names of the images into files, and yields these."""
    source = iter(rows)
    number = 0
    while part := list(islice(source, _IMAGES_A_PACKET)):
        path = scratch / "lines" / f"{number:08d}"
        path.write_bytes(packed([name for _, name in part]))
        yield str(path)
        number += 1


class _Packets(ModelHandler[str, dict[str, Any], Predictor]):
    """Our predictor as a model of Beam, whose examples are files of names."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def load_model(self) -> Predictor:
        return load_predictor(*self._job.arguments)[0]

    def run_inference(
        self,
        batch: Sequence[str],
        model: Predictor,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[dict[str, Any]]:
        for file in batch:
            names = unpacked(Path(file).read_bytes())
            lines = [_line(self._job, model, name) for name in names]
            yield {"file": file, "lines": [line for line in lines if line]}


def _line(job: Job, predictor: Predictor, name: str) -> dict[str, Any] | None:
    """Segments an image; returns its line, None for predictions of earlier runs."""
    image = job.source / name if job.source.is_dir() else job.source
    if job.source.is_dir() and record_of(image) is not None:
        return None
    task = Task.named(image, job.out / splitext(name)[0], job.file_format)
    try:
        check_files([task])
        made = segment_missing(predictor, task, job.model, job.file_format)
        if made is not None:
            write_prediction(
                predictor, task, made.image, made.labels, made.record, job.file_format
            )
        ids = _read_ids(task.ids) if made is None else made.labels
    # Whatever one image among millions does, the others are segmented.
    except Exception as error:
        known = isinstance(error, UserError)
        reason = str(error) if known else f"{image}: {first_line(error)}"
        return {"image": name, "error": reason}
    line = {
        "image": name,
        "files": [str(file.relative_to(job.out)) for file in task.files],
        "size": list(ids.shape),
        "was_there": made is None,
    }
    if job.file_format == "ids":
        counts = np.bincount(ids.ravel(), minlength=len(predictor.classes)).tolist()
        line["pixels"] = dict(zip(predictor.classes, counts))
    return line


def _read_ids(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _write_lines(packet: dict[str, Any]) -> dict[str, Any]:
    """Writes the lines of a packet; returns their numbers, and the first failure."""
    lines = packet["lines"]
    there = [line.pop("was_there", None) for line in lines]
    with new_file(Path(f"{packet['file']}.jsonl")) as partial:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines)
    failures = [(line["image"], line["error"]) for line in lines if "error" in line]
    return {
        "num_written": there.count(False),
        "num_present": there.count(True),
        "num_failures": len(failures),
        "failures": failures[:1],
    }
