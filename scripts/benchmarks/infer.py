"""How long each exported file takes for an image, and the reference's network beside.

Every file runs in a process of its own, which stands still while another is measured,
and all have their turn in every round. Ratios are to the first candidate of the same
round: that is mmsegmentation in PyTorch where its environment is there.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.workers import REPOSITORY, Measurement, Worker, own_command
from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import PORTABLE, PRECISIONS
from gcnet_tf.processor import instruction_sets
from gcnet_tf.runtime.manifest import ExportManifest, megabytes, read_manifest

PEER = REPOSITORY / "tests" / "parity" / "reference_infer.py"
PEER_GIVES = "labels, logits"
# Stream names of the workers.
IMPORT, RUN = "import", "run"

_FORMATS = {"saved_model": "SavedModel", "tflite": "TFLite", "onnx": "ONNX"}
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


class Candidate(NamedTuple):
    """One thing that is measured."""

    name: str
    gives: str
    """The outputs, all at the image's size."""
    command: list[object]
    """Starts its worker."""
    megabytes: float | None
    """Of the file or folder, MB."""


class Row(NamedTuple):
    """What was measured of a candidate."""

    name: str
    gives: str
    megabytes: float | None
    baseline: float
    """Memory before the model is opened, its interpreter imported, MB."""
    rounds: list[Measurement]
    ratios: list[float]
    """Median time to that of the first candidate, one per round."""

    @property
    def times(self) -> list[float]:
        return sorted(seconds for each in self.rounds for seconds in each.times)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def p90(self) -> float:
        """The time that one in ten runs exceeds."""
        return self.times[-(-9 * len(self.times) // 10) - 1]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def peak(self) -> float:
        """The most memory that the process ever took, MB."""
        return max(each.peak for each in self.rounds)

    @property
    def busy(self) -> float:
        """Cores in use on average, while it ran."""
        return statistics.median(each.cpu / each.wall for each in self.rounds)

    def to_dict(self) -> dict:
        return {
            "name": self.name,
            "gives": self.gives,
            "median_seconds": self.median,
            "p90_seconds": self.p90,
            "ratio": self.ratio,
            "ratios": self.ratios,
            "cores_busy": self.busy,
            "peak_mb": self.peak,
            "peak_above_interpreter_mb": self.peak - self.baseline,
            "file_mb": self.megabytes,
            "seconds": [each.times for each in self.rounds],
        }


def exported_files(folder: Path) -> list[Path]:
    """Every export in a folder.

    Raises:
        UserError: when there is none.
    """
    found = sorted(
        [path.parent for path in folder.glob("*/saved_model.pb")]
        + [path for path in folder.iterdir() if path.suffix in (".onnx", ".tflite")]
        if folder.is_dir()
        else []
    )
    if not found:
        raise UserError(
            f"{folder} holds no exported model; scripts/export.py --out {folder} "
            "writes them."
        )
    return found


def own_candidates(
    files: Sequence[Path], size: tuple[int, int], threads: int, folder: Path
) -> Iterator[Candidate]:
    """The Keras model, and every file in every interpreter that there is for it.

    Args:
        files: exports of one model.
        size: (height, width) of the image.
        threads: for each.
        folder: for what the workers have to read.

    Raises:
        UserError: when a file is not for images of this size.
    """
    last = [*size, threads]
    manifests = {path: read_manifest(path) for path in files}
    config = folder / "config.json"
    config.write_text(json.dumps(next(iter(manifests.values())).config))
    outputs = "labels, probabilities"
    yield Candidate(
        "Keras model",
        outputs,
        own_command("infer_worker", "keras", config, *last),
        None,
    )
    for path, manifest in sorted(manifests.items(), key=_place):
        if manifest.size not in (None, size):
            raise UserError(
                f"{path} takes images of {manifest.size[0]}x{manifest.size[1]}; "
                "received --size {}x{}. Give the size of the files.".format(*size)
            )
        name, gives = _name(manifest), ", ".join(sorted(manifest.outputs))
        command = own_command("infer_worker", "file", path, *last)
        if manifest.format != "onnx":
            yield Candidate(name, gives, command, megabytes(path))
            continue
        yield Candidate(f"{name}, ONNX Runtime", gives, command, megabytes(path))
        yield from _openvino(name, gives, path, last)


def peer_candidates(
    python: Path, network: dict, size: tuple[int, int], threads: int, folder: Path
) -> Iterator[Candidate]:
    """mmsegmentation in PyTorch, and the ONNX file that PyTorch makes of it.

    Args:
        python: of its environment.
        network: arguments of `build_segmentor` in tests/parity/reference.py.
        size, threads, folder: as `own_candidates`.
    """
    common = [json.dumps(network), *size, threads]
    state, file = folder / "mmsegmentation.pth", folder / "mmsegmentation.onnx"
    export = [python, PEER, "export", *common, state, file]
    result = subprocess.run(
        [str(word) for word in export], capture_output=True, text=True
    )
    if result.returncode:
        raise UserError(f"mmsegmentation's export failed: {result.stderr[-2000:]}")
    name = "mmsegmentation, PyTorch"
    half = [""] if not _BFLOAT16 & set(instruction_sets()) else ["", " bf16"]
    for ending in half:
        precision = ending.strip() or "fp32"
        command = [python, PEER, precision, *common]
        yield Candidate(name + ending, PEER_GIVES, command, megabytes(state))
    name, last = "mmsegmentation", [*size, threads]
    if find_spec("onnxruntime"):
        yield Candidate(
            f"{name}, ONNX Runtime",
            PEER_GIVES,
            own_command("infer_worker", "onnxruntime", file, *last),
            megabytes(file),
        )
    yield from _openvino(name, PEER_GIVES, file, last)


def peer_versions(python: Path) -> str:
    """Of the packages that decide the reference's speed."""
    code = (
        "from importlib.metadata import version; print(*(f'{name} {version(name)}' "
        "for name in ('torch', 'mmsegmentation', 'mmcv-lite', 'numpy')), sep=', ')"
    )
    result = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def network_of(config: dict, num_classes: int) -> dict:
    """What the reference builds the same network from; its default context block."""
    model = config["model"]
    return {
        "depth": model["backbone"]["depth"],
        "width": model["backbone"]["base_channels"],
        "head_channels": model["head"]["channels"],
        "aux_channels": model["auxiliary"]["channels"],
        "num_classes": num_classes,
        "align_corners": model["align_corners"],
    }


def limit_threads(threads: int) -> None:
    """Tells libraries that take no argument for it, in processes started from now on.

    They are numpy, MKL and TensorFlow's own pool.
    """
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)


def _openvino(
    name: str, gives: str, file: Path, last: list[int]
) -> Iterator[Candidate]:
    if not find_spec("openvino"):
        return
    yield Candidate(
        f"{name}, OpenVINO",
        gives,
        own_command("infer_worker", "openvino", file, *last),
        megabytes(file),
    )
    if _BFLOAT16 & set(instruction_sets()):
        yield Candidate(
            f"{name.removesuffix(' fp32')}, OpenVINO bf16",
            gives,
            own_command("infer_worker", "openvino-bf16", file, *last),
            megabytes(file),
        )


def _place(item: tuple[Path, ExportManifest]) -> tuple:
    """Where a file stands in the table: by format, precision, and outputs."""
    path, manifest = item
    precisions = PRECISIONS[manifest.format]
    return (
        list(PRECISIONS).index(manifest.format),
        precisions.index(manifest.precision),
        path,
    )


def _name(manifest: ExportManifest) -> str:
    name = f"{_FORMATS[manifest.format]} {manifest.precision}"
    if manifest.target != PORTABLE:
        name = f"{_FORMATS[manifest.format]} {manifest.target}"
    return name + " labels" if list(manifest.outputs) == ["labels"] else name


def measure(
    candidates: Sequence[Candidate], rounds: int, seconds: float, threads: int
) -> list[Row]:
    """Runs all candidates in turn; one more round comes first, and does not count.

    Args:
        candidates: the first is what the others are compared with.
        rounds: how often each is measured.
        seconds: how long, at least one image, after a shorter warm-up.
        threads: of each; told to libraries that take no argument for it.
    """
    limit_threads(threads)
    baselines: list[float] = []
    found: list[list[Measurement]] = [[] for _ in candidates]
    steps = (rounds + 1) * len(candidates)
    with ExitStack() as stack, tqdm(total=steps, desc="rounds", disable=None) as bar:
        workers = []
        for candidate in candidates:
            worker = stack.enter_context(Worker(candidate.command))
            bar.set_postfix_str(candidate.name)
            baselines.append(worker.measure(IMPORT, 0).memory)
            worker.measure(RUN, 0)
            workers.append(worker)
            bar.update()
        for _ in range(rounds):
            for candidate, worker, measurements in zip(candidates, workers, found):
                bar.set_postfix_str(candidate.name)
                measurements.append(worker.measure(RUN, seconds))
                bar.update()
    medians = [[statistics.median(each.times) for each in one] for one in found]
    return [
        Row(
            candidate.name,
            candidate.gives,
            candidate.megabytes,
            baseline,
            measurements,
            [one / base for one, base in zip(times, medians[0])],
        )
        for candidate, baseline, measurements, times in zip(
            candidates, baselines, found, medians
        )
    ]
