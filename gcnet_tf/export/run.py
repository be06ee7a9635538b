"""The export in all formats: the assembly module of this package."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from gcnet_tf.config import Config
from gcnet_tf.errors import UserError
from gcnet_tf.export import report
from gcnet_tf.export.onnx import export_onnx
from gcnet_tf.export.plan import PORTABLE, Checks, Job
from gcnet_tf.export.saved_model import export_saved_model
from gcnet_tf.export.server.folders import (
    require_server_packages,
    write_server_folders,
)
from gcnet_tf.export.tflite import export_tflite
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime.manifest import LOGITS, PROBABILITIES


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
) -> list[Path]:
    """Writes all files, and prints the path and the accuracy of each.

    Args:
        model: the trained model.
        config: its configuration.
        jobs: the files to write, see `plan`.
        out: the folder for all files.
        logits: whether SavedModel and ONNX give logits instead of probabilities.
        layout: layout of the ONNX file's images, "nhwc" (uint8) or "nchw" (float32).
        target: target of SavedModels in fp32, one of `plan.TARGETS`.
        checks: the checks of the accuracy.
        server: whether to write folders for servers as well, see
            `write_server_folders`.

    Returns:
        The paths of the written files.

    Raises:
        UserError: when a file could not be written, or has lost too much accuracy. The
            message names it, and the other files are written.
    """
    if server:
        require_server_packages()
    values = LOGITS if logits else PROBABILITIES
    paths: list[Path] = []
    problems: list[str] = []
    bar = tqdm(jobs, desc="export", unit="file", leave=False, disable=None)
    for job in bar:
        bar.set_postfix_str(f"{job.format} {job.precision}")
        try:
            paths += _export(model, config, job, out, values, layout, target)
        except UserError as error:
            problems.append(f"Not written: {job.format} {job.precision}. {error}")
    for path in paths:
        print(f"Exported: {path}")
    if paths and checks.samples:
        problems += _check(paths, model, config, jobs, checks)
    if server and paths:
        print(f"For servers: {write_server_folders(out, paths)}")
    if problems:
        raise UserError("\n".join(problems))
    return paths


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
            model, config, out, size=job.size, values=values, layout=layout
        )
    assert job.size is not None  # the plan gives every TFLite file a size
    return export_tflite(model, config, out, precision=job.precision, size=job.size)


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
        accuracies = report.measure(paths, model, config, size, checks.samples)
    except UserError as error:
        return [f"Accuracy was not measured (--samples 0 skips it). {error}"]
    print(report.table(accuracies))
    if checks.allow_drop:
        return []
    return [
        f"{sentence} Add --allow-drop to accept it."
        for sentence in report.excesses(accuracies)
    ]
