"""The export in all formats: the assembly module of this package."""

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError, first_line
from gcnet_tf.evaluation.agreement import check_fold
from gcnet_tf.export.accuracy.limits import excesses
from gcnet_tf.export.accuracy.measure import measure
from gcnet_tf.export.accuracy.table import table
from gcnet_tf.export.card.facts import exports_in
from gcnet_tf.export.card.write import write_card
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.plan import PORTABLE, WEB, Checks, Job, require_for_web
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.server.folders import (
    require_server_packages,
    write_server_folders,
)
from gcnet_tf.export.tflite.export import export_tflite
from gcnet_tf.export.web.site import require_site, write_site
from gcnet_tf.files.lock import locked
from gcnet_tf.files.names import quoted
from gcnet_tf.models import Segmentor
from gcnet_tf.models.inference_graph import inference_function
from gcnet_tf.runtime.manifest import LABELS, LOGITS, PROBABILITIES
from gcnet_tf.weights.files import weights_hash


def export(
    model: Segmentor,
    config: Config,
    jobs: Sequence[Job],
    out: Path,
    logits: bool = False,
    layout: str = "nhwc",
    target: str = PORTABLE,
    checks: Checks = Checks(),
    server: bool = False,
    metrics: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes all files, and prints the path and the accuracy of each.

    Args:
        model: the trained model.
        config: its configuration.
        jobs: the files to write, see `plan`.
        out: the folder for all files.
        logits: whether SavedModel and ONNX give logits instead of probabilities.
        layout: layout of the ONNX file's images and values per class, "nhwc" (uint8
            images) or "nchw" (float32 images).
        target: target of SavedModels in fp32, one of `plan.TARGETS`.
        checks: the checks of the accuracy.
        server: whether to write folders for servers as well, see
            `write_server_folders`.
        metrics: metrics of the run's best weights, for the model card.

    Returns:
        The paths of the written files.

    Raises:
        UserError: when a file could not be written, or has lost too much accuracy: the
            message names it, and the other files are written. Also when another
            process exports into the folder, or folding changes the logits: then none
            is written.
    """
    if server:
        require_server_packages()
    is_web = any(job.format == WEB for job in jobs)
    if is_web:
        require_for_web(jobs, config)
        require_site(out)
    with locked(out):
        check_fold(model, inference_function(model))
        gc.collect()  # frozen functions are part of reference cycles
        values = LOGITS if logits else PROBABILITIES
        paths: list[Path] = []
        problems: list[str] = []
        bar = tqdm(jobs, desc="export", unit="file", leave=False, disable=None)
        for job in bar:
            bar.set_postfix_str(f"{job.format} {job.precision}")
            try:
                paths += _export(model, config, job, out, values, layout, target)
            # A converter may raise anything; the other formats do not depend on it.
            except Exception as error:
                problems.append(
                    f"Not written: {job.format} {job.precision}. {_reason(error)}"
                )
        for path in paths:
            print(f"Exported: {path}")
        if paths and checks.samples:
            problems += _check(paths, model, config, jobs, checks)
        if paths:
            try:
                print(write_card(model, config, out, metrics or {}))
            except UserError as error:
                problems.append(str(error))
        if server and paths:
            print(f"For servers: {write_server_folders(out, paths)}")
        if is_web and paths:
            print(f"For browsers: {write_site(out, paths)}")
            print(f"Next: python -m http.server --directory {quoted(out)}")
        for path in _of_other_weights(out, paths, weights_hash(model)):
            print(f"Of other weights, from an earlier export: {path}")
    if problems:
        raise UserError("\n".join(problems))
    return paths


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def _of_other_weights(out: Path, paths: Sequence[Path], weights: str) -> list[Path]:
    """Lists exported files that are in the folder and were not written now."""
    return [
        path
        for path, manifest in exports_in(out).items()
        if path not in paths and manifest.weights_sha256 != weights
    ]


def _export(
    model: Segmentor,
    config: Config,
    job: Job,
    out: Path,
    values: str,
    layout: str,
    target: str,
) -> list[Path]:
    if job.format == "saved_model":
        return export_saved_model(
            model,
            config,
            out,
            precision=job.precision,
            target=target,
            size=job.size,
            values=values,
        )
    if job.format == "onnx":
        return export_onnx(
            model,
            config,
            out,
            precision=job.precision,
            size=job.size,
            values=values,
            layout=layout,
        )
    assert job.size is not None  # the plan gives every TFLite file a size
    # The page enlarges logits, and has no use for labels.
    outputs = (LOGITS,) if job.format == WEB else (LOGITS, LABELS)
    return export_tflite(
        model,
        config,
        out,
        precision=job.precision,
        size=job.size,
        outputs=outputs,
    )


def _check(
    paths: Sequence[Path],
    model: Segmentor,
    config: Config,
    jobs: Sequence[Job],
    checks: Checks,
) -> list[str]:
    """Prints the accuracy report, and returns a sentence for each problem."""
    size = next((job.size for job in jobs if job.size), config.augment.crop_size)
    try:
        accuracies, failures = measure(paths, model, config, size, checks.samples)
    except Exception as error:
        return [f"Accuracy was not measured (--samples 0 skips it). {_reason(error)}"]
    if accuracies:
        print(table(accuracies))
    if checks.allow_drop:
        return failures
    return failures + [
        f"{sentence} Add --allow-drop to accept it."
        for sentence in excesses(accuracies)
    ]
