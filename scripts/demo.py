"""Runs every step on generated images, as `make demo` does, from data to an export.

Takes a few minutes. Each step is a command that can also be used alone. A second run
resumes where the first one ended.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config

CONFIG = "shapes_r18"
RUN = Path("runs/demo")
EXPORT = Path("exports/demo")
PREDICTIONS = RUN / "predictions"
METRICS = RUN / "evaluation.json"
REPORT = RUN / "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    cli.script_parser(__doc__).parse_args(argv)
    # This also draws the images if they are missing.
    cli.run_command("make_tfrecords", "--cfg", CONFIG)
    cli.run_training(CONFIG, RUN)
    cli.run_command("evaluate", "--model", RUN, "--json", METRICS)
    config = load_config(CONFIG)
    width, height = config.evaluation.scale
    size = f"{height}x{width}"  # That of the images; training crops are smaller.
    cli.run_command("export", "--model", RUN, "--size", size, "--out", EXPORT)
    images = Path(config.data.root) / "val" / "images"
    image = sorted(images.iterdir())[0]
    phone = EXPORT / "model_int8.tflite"
    cli.run_command("predict", "--model", phone, "--image", image, "--out", PREDICTIONS)

    cli.run_command("report", "--model", RUN, "--exports", EXPORT, "--out", REPORT)

    print()
    metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    print(f"mIoU:           {metrics['mIoU']:.4f}")
    print(f"run folder:     {RUN}")
    print(f"exported files: {EXPORT}")
    print(f"report:         {REPORT}")
    print(f"overlay:        {PREDICTIONS / image.stem}_overlay.png")
    print(f"TensorBoard:    tensorboard --logdir {RUN / 'logs'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
