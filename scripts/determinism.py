"""Shows that 1 device, 2 replicas and 2 workers train alike, and how fast.

python scripts/determinism.py
python scripts/determinism.py --scaling
python scripts/determinism.py --exchange

The first prints losses and scores in float64 and float32, and fails where they differ
by more than is promised; the second images per second of 1 and 2 workers; the third
how many bytes the replicas exchange in a step.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from benchmarks import determinism
from gcnet_tf.commands import cli

ROWS = ["voc_r50_20k", "voc_r101_20k", "cityscapes_r50_769x769_40k", "ade20k_r101_80k"]
# A step long enough that starting it does not count: half the width, larger images.
SCALING = {"model.backbone.base_channels": 32, "model.head.channels": 128}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--scaling", action="store_true", help="1 and 2 workers")
    what.add_argument("--exchange", action="store_true", help="bytes per step")
    args = parser.parse_args(argv)
    cli.start_tensorflow()
    if args.exchange:
        from benchmarks import exchange

        print(exchange.table(ROWS))
        return 0
    precisions = ["float32"] if args.scaling else list(determinism.PRECISIONS)
    with tempfile.TemporaryDirectory() as folder:
        settings = determinism.make_data(Path(folder), SCALING if args.scaling else {})
        courses: dict = {precision: {} for precision in precisions}
        todo = [(p, d) for p in precisions for d in determinism.DIVISIONS]
        for precision, division in tqdm(todo, desc="runs", disable=None):
            courses[precision][division] = determinism.run(
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
    print(determinism.table(courses))
    for failure in (failed := determinism.failures(courses)):
        print(f"Error: {failure}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
