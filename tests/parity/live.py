"""Compares both implementations side by side: `make parity`.

    python tests/parity/live.py                      everything, about 15 minutes
    python tests/parity/live.py --rows voc_r50_20k   some rows of the table

For each row with published weights (GCNet's, and one of NLNet) the reference
(mmsegmentation 1.2.2, in an environment of its own) builds the model from its own
configuration file at full width, gives it drawn weights and statistics, and writes a
checkpoint. It is imported here as a published one would be, and the logits are
compared. Then both evaluate a narrow R50 on real images by three protocols, unless
--no-miou is given.

Exits with 1 when a tolerance is exceeded.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gcnet_tf.commands import cli
from gcnet_tf.config import Config, load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.evaluation.metrics import ConfusionMatrix
from gcnet_tf.runtime import windows
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.weights.files import assign_weights, weight_shapes, weights_by_path
from gcnet_tf.weights.mmseg_checkpoint import match_segmentor
from gcnet_tf.weights.official import published_checkpoint, published_rows
from gcnet_tf.weights.torch.file import read_torch_file

cli.start_tensorflow()

import tensorflow as tf  # noqa: E402

from gcnet_tf.evaluation.load import predictor_from_model  # noqa: E402
from gcnet_tf.models import Segmentor, build_model  # noqa: E402

REFERENCE = Path(__file__).with_name("reference_live.py")
# Tolerances of logits, float64 absolutely, float32 relative to the largest logit; and
# of the mIoU.
FLOAT64 = 1e-10
FLOAT32 = 6e-5
MIOU = 1e-4
# Pixels whose two best logits are closer than this may get either label.
CLEAR_MARGIN = 1e-3


class Reference:
    """The reference, in processes of its own environment."""

    def __init__(self, python: str):
        self.python = python
        self.names = self._call("list").split()

    def config(self, row: str, folder: Path) -> dict[str, np.ndarray]:
        """Computes a row's model; writes its checkpoint and returns its arrays."""
        self._call("config", self.name_of(row), folder)
        return self._arrays(folder)

    def miou(self, folder: Path, images: Path, labels: Path, count: int):
        """Evaluates images; writes a checkpoint and returns the arrays."""
        arguments = ["--images", images, "--labels", labels, "--count", count]
        self._call("miou", folder, *arguments)
        return self._arrays(folder)

    def name_of(self, row: str) -> str:
        """Returns the 1.x name of the configuration with the row's 0.x checkpoint."""
        url = published_checkpoint(row) or ""
        model, depth, crop, length, dataset = re.fullmatch(
            r".*/(gcnet|nonlocal)_(r\d+)-d8_(\d+x\d+)_(\d+k)_(\w+?)_\d{8}_.*", url
        ).groups()
        pattern = rf"{model}_{depth}-d8_\d+xb\d+-{length}_{dataset}-{crop}"
        (name,) = [known for known in self.names if re.fullmatch(pattern, known)]
        return name

    def _call(self, *arguments) -> str:
        command = [self.python, REFERENCE, *arguments]
        result = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True
        )
        if result.returncode:
            sys.exit(f"{REFERENCE.name} failed:\n{result.stderr[-3000:]}")
        return result.stdout

    @staticmethod
    def _arrays(folder: Path) -> dict[str, np.ndarray]:
        with np.load(folder / "reference.npz") as file:
            return {name: file[name] for name in file.files}


def load_checkpoint(model: Segmentor, path: Path) -> None:
    """Imports a checkpoint of the reference into a model."""
    state = read_torch_file(path).state_dict
    matched = match_segmentor(state, weight_shapes(model), path.name)
    assign_weights(model, matched.weights)


def differing_settings(config: Config, reference: dict[str, np.ndarray]) -> list[str]:
    """Names the settings that differ from the reference's own configuration file."""
    train, augment, evaluation = config.train, config.augment, config.evaluation
    facts = facts_of(config.data)
    ours = {
        "num_classes": facts.num_classes,
        "classes": facts.classes,
        "palette": facts.palette,
        "align_corners": config.model.align_corners,
        "test_mode": evaluation.mode,
        "learning_rate": train.learning_rate,
        "momentum": train.momentum,
        "weight_decay": train.weight_decay,
        "power": train.poly_power,
        "minimum_rate": train.min_learning_rate,
        "iterations": train.iterations,
        "batch": train.batch_size,
        "crop_size": augment.crop_size,
        "train_scale": augment.base_scale,
        "ratio_range": augment.ratio_range,
        "category_max_ratio": augment.category_max_ratio,
        "test_scale": evaluation.scale,
    }
    if evaluation.mode == "slide":
        ours |= {"window": evaluation.window, "stride": evaluation.stride}
    return [
        name
        for name, value in ours.items()
        if not np.array_equal(value, reference[name])
    ]


def windows_differ(config: Config, reference: dict[str, np.ndarray]) -> bool:
    """Tells whether the windows of a Cityscapes image differ."""
    evaluation = config.evaluation
    ours = [
        (rows.start, rows.stop, columns.start, columns.stop)
        for rows, columns in windows.windows(
            1025, 2049, evaluation.window, evaluation.stride
        )
    ]
    return not np.array_equal(ours, reference["windows"])


def compare_row(row: str, reference: Reference) -> list[str]:
    """Prints the row's line, and returns the names of all that differs."""
    config = load_config(row)
    with tempfile.TemporaryDirectory() as folder:
        expected = reference.config(row, Path(folder))
        model = build_model(config)
        load_checkpoint(model, Path(folder) / "checkpoint.pth")
    image, logits = expected["image"], expected["logits"]
    largest = np.abs(logits).max()

    # Evaluation and export run this graph: normalisation folded, weights constant.
    fused = predictor_from_model(model, config).network.logits(image[None])[0]
    plain = model(image[np.newaxis])["logits"][0].numpy()
    double = Segmentor.from_config({**model.get_config(), "dtype": "float64"})
    double.build((None, None, None, 3))
    values = {path: w.numpy() for path, w in weights_by_path(model).items()}
    assign_weights(double, values)
    exact = double(image[np.newaxis])["logits"][0].numpy()

    differences = {
        "float32": np.abs(plain - logits).max() / largest,
        "fused": np.abs(fused - logits).max() / largest,
        "float64": np.abs(exact - expected["logits_float64"]).max(),
    }
    best = np.sort(expected["logits_float64"], axis=-1)
    clear = best[..., -1] - best[..., -2] > CLEAR_MARGIN
    agree = fused.argmax(axis=-1) == logits.argmax(axis=-1)
    num_parameters = sum(v.size for p, v in values.items() if "/moving_" not in p)

    wrong = [
        f"{name} {value:.1e}"
        for name, value in differences.items()
        if not value <= (FLOAT64 if name == "float64" else FLOAT32)
    ]
    wrong += [] if agree[clear].all() else ["masks"]
    wrong += [] if num_parameters == expected["num_parameters"] else ["parameters"]
    wrong += differing_settings(config, expected)
    windows = "-"
    if config.evaluation.mode == "slide":
        wrong += ["windows"] if windows_differ(config, expected) else []
        windows = ",".join(f"{y}:{x}" for y, _, x, _ in expected["windows"])
    shown = "".join(f" {value:>8.1e}" for value in differences.values())
    masks, verdict = f"{100 * agree.mean():.3f}%", "DIFFERS" if wrong else "same"
    print(
        f"{row:<27} {num_parameters:>10,} {largest:>7.2f}{shown} {masks:>9} "
        f"{verdict:>8}  {windows}",
        flush=True,
    )
    return [f"{row}: {name}" for name in wrong]


def compare_miou(reference: Reference, data: Path, count: int) -> list[str]:
    """Evaluates both on the same real images; prints a line per protocol.

    Returns:
        a sentence on each mIoU that differs.
    """
    images, labels = data / "images", data / "labels"
    with tempfile.TemporaryDirectory() as folder:
        expected = reference.miou(Path(folder), images, labels, count)
        classes = expected["classes"].tolist()
        window, stride = (expected[k].tolist() for k in ("window", "stride"))
        settings = [
            "data.palette=[]",
            "model.backbone.depth=50",
            "model.backbone.base_channels=8",
            "model.head.channels=64",
            "model.auxiliary.channels=32",
            f"evaluation.scale={expected['scale'].tolist()}",
            f"evaluation.stride={stride}",
            f"evaluation.window={window}",
            f"evaluation.ratios={expected['ratios'].tolist()}",
        ]
        model = build_model(load_config("camvid_r18", settings))
        load_checkpoint(model, Path(folder) / "checkpoint.pth")
    wrong = []
    for protocol in ("whole", "slide", "ms_flip"):
        start = time.perf_counter()
        config = load_config("camvid_r18", settings)
        predictor = predictor_from_model(model, config, mode=protocol)
        matrix = ConfusionMatrix(len(classes))
        differing = pixels = 0
        for name, theirs in zip(expected["names"], expected[f"{protocol}/labels"]):
            (path,) = images.glob(f"{name}.*")
            ours = predictor.labels(read_image(path))
            truth = read_label(labels / f"{name}.png", facts_of(config.data))
            matrix.update(truth, ours)
            differing += int((ours != theirs).sum())
            pixels += ours.size
        own_miou = matrix.metrics().miou
        their_miou = float(expected[f"{protocol}/miou"])
        difference = abs(own_miou - their_miou)
        print(
            f"{protocol:<8} mIoU {own_miou:.6f} reference {their_miou:.6f} "
            f"difference {difference:.1e}; {differing} of {pixels:,} pixels differ; "
            f"{len(expected['names'])} images in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        if not difference <= MIOU:
            wrong.append(f"{protocol}: mIoU differs by {difference:.1e}")
    return wrong


def main() -> None:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--python", default=".venv-parity/bin/python")
    parser.add_argument("--rows", nargs="*", default=None)
    parser.add_argument("--no-miou", action="store_true")
    parser.add_argument("--images", type=Path, default=Path("../shared/camvid/val"))
    parser.add_argument("--count", type=int, default=24)
    args = parser.parse_args()
    if not (args.no_miou or args.images.is_dir()):
        sys.exit(
            f"There is no folder {args.images}. Give --images FOLDER, with images/ and "
            "labels/ in it that have the classes of camvid_r18, or --no-miou."
        )
    reference = Reference(args.python)
    wrong = []
    rows = published_rows() if args.rows is None else args.rows
    if rows:
        print(
            "Largest differences of logits: float32 and fused relative to the largest "
            "logit, float64 absolute."
        )
        print(
            f"{'row':<27} {'parameters':>10} {'largest':>7} {'float32':>8} "
            f"{'fused':>8} {'float64':>8} {'masks':>9} {'settings':>8}  windows y:x",
            flush=True,
        )
    for row in rows:
        wrong += compare_row(row, reference)
        tf.keras.backend.clear_session()
    if not args.no_miou:
        wrong += compare_miou(reference, args.images, args.count)
    if wrong:
        sys.exit("Out of tolerance: " + "; ".join(wrong))
    print("Everything within tolerance.")


if __name__ == "__main__":
    main()
