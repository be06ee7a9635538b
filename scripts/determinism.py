"""Shows that 1 device, 2 replicas and 2 workers train alike, and how fast.

python scripts/determinism.py
python scripts/determinism.py --scaling
python scripts/determinism.py --exchange

The first command prints losses and metrics in float64 and float32, and fails where they
differ by more than is promised. The second one prints images per second of 1 and 2
workers; the third one prints the number of bytes that replicas exchange in a step.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks.determinism import divisions
from gcnet_tf.commands import cli

CONFIGURATIONS = [
    "voc_r50_20k",
    "voc_r101_20k",
    "cityscapes_r50_769x769_40k",
    "ade20k_r101_80k",
]
# Half the width instead of an eighth, so that a step takes long enough for the time to
# start it not to count.
SCALING = {"model.backbone.base_channels": 32, "model.head.channels": 128}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--scaling", action="store_true", help="print the speed of 1 and 2 workers"
    )
    choice.add_argument(
        "--exchange", action="store_true", help="print the bytes exchanged in a step"
    )
    args = parser.parse_args(argv)
    cli.start_tensorflow()
    if args.exchange:
        from benchmarks.determinism import exchange

        print(exchange.table(CONFIGURATIONS))
        return 0
    precisions = ["float32"] if args.scaling else list(divisions.PRECISIONS)
    with tempfile.TemporaryDirectory() as folder:
        settings = divisions.make_data(Path(folder), SCALING if args.scaling else {})
        courses: dict = {precision: {} for precision in precisions}
        trainings = [(p, d) for p in precisions for d in divisions.DIVISIONS]
        for precision, division in tqdm(trainings, desc="runs", disable=None):
            courses[precision][division] = divisions.run(
                division,
                [*settings, f"train.precision={precision}"],
                Path(folder) / f"{division} {precision}",
            )
    if args.scaling:
        speeds = courses["float32"]
        base = speeds["1 device"].images_per_second
        for division, course in speeds.items():
            speed = course.images_per_second
            print(f"{division:<12} {speed:6.1f} images/s  {speed / base:.2f}")
        return 0
    print(divisions.table(courses))
    failures = divisions.failures(courses)
    for failure in failures:
        print(f"Error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run(main)
