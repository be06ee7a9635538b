"""Trains and evaluates on CamVid, as `make camvid` does, beside the reference's curve.

The images are those of ../shared/camvid (for research only: no part of them is kept in
this repository). Takes about 40 minutes on two cores. A second run resumes where the
first one ended. Writes runs/camvid_r18/predictions and docs/results/camvid_loss.png.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.weights.files import WEIGHTS_FILE, newest_checkpoint

CONFIG = "configs/camvid_r18.json"
RUN = Path("runs/camvid_r18")
METRICS = RUN / "evaluation.json"
REFERENCE = json.loads(
    Path("docs/results/camvid_reference.json").read_text(encoding="utf-8")
)
REFERENCE_LOSSES = REFERENCE["loss_per_100_iterations"]


def losses_per_hundred() -> list[float]:
    """Returns the mean loss of each hundred iterations of the run."""
    records = [
        json.loads(line) for line in (RUN / "metrics.jsonl").open(encoding="utf-8")
    ]
    train = [record for record in records if record["kind"] == "train"]
    hundreds = np.array([(record["iteration"] - 1) // 100 for record in train])
    losses = np.array([record["loss"] for record in train])
    return [float(losses[hundreds == index].mean()) for index in np.unique(hundreds)]


def plot(losses: list[float]) -> None:
    """Draws the losses beside the reference's into docs/results/camvid_loss.png."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    iterations = 100 * np.arange(1, len(losses) + 1)
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(iterations, REFERENCE_LOSSES, "o--", color="0.5", label="mmsegmentation")
    axes.plot(iterations, losses, "o-", label="gcnet_tf")
    axes.set(xlabel="iteration", ylabel="loss, mean of 100", title="CamVid, GCNet-R18")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig("docs/results/camvid_loss.png", dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    cli.script_parser(__doc__).parse_args(argv)
    images = Path(load_config(CONFIG).data.root) / "val" / "images"
    cli.run_training(CONFIG, RUN)
    # The reference was evaluated with its last weights, not with its best ones.
    checkpoint = newest_checkpoint(RUN)
    assert checkpoint is not None  # A training that ends has saved one.
    model = ["--cfg", CONFIG, "--weights", checkpoint / WEIGHTS_FILE]
    cli.run_command("evaluate", *model, "--json", METRICS)
    cli.run_command("predict", *model, "--image", images, "--out", RUN / "predictions")
    losses = losses_per_hundred()
    plot(losses)
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    print("\n              loss per hundred iterations")
    print("gcnet_tf      ", *(f"{loss:.3f}" for loss in losses))
    print("mmsegmentation", *(f"{loss:.3f}" for loss in REFERENCE_LOSSES))
    for name in ("mIoU", "aAcc"):
        print(f"{name} {metrics[name]:.3f} (reference {REFERENCE[name]})")
    return 0


if __name__ == "__main__":
    cli.run(main)
