"""Trains a model, and first makes the TFRecords where they are missing.

python scripts/train.py --cfg configs/voc_r50_20k.json
python scripts/train.py --cfg configs/voc_r50_20k.json --resume
python scripts/train.py --cfg configs/shapes_r18.json --set train.logical_cpus=2

Training does what its configuration says, and imports modules of custom_imports from
this folder: train with a stranger's only when you have read it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.extensions import here
from gcnet_tf.files.names import quoted


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run folder for checkpoints and logs; default: runs/<name of the config>",
    )
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    args = parser.parse_args(argv)
    config = load_config(args.cfg, args.set)
    out = Path(args.out or f"runs/{Path(args.cfg).stem}")

    here.search()
    cli.start_tensorflow()
    from gcnet_tf.training import Interrupted, WorkerLost, train

    try:
        train(config, out, resume=args.resume)
    except Interrupted as interruption:
        print(f"Stopped {interruption}; a checkpoint is saved. To go on:")
        print(f"  {cli.training_command(args, '--out', out, '--resume')}")
        return interruption.exit_code
    except WorkerLost as loss:
        print(f"Error: {loss}", file=sys.stderr)
        return cli.EXIT_WORKER_LOST
    print(f"Trained: {out}")
    print(f"Watch:   tensorboard --logdir {quoted(out / 'logs')}")
    allow = ["--allow-imports"] * here.holds_modules(config)
    print(f"Score:   {cli.command_text('evaluate', ['--model', out, *allow])}")
    page = ["--out", out / "report.html"]
    print(f"Look:    {cli.command_text('report', ['--model', out, *page, *allow])}")
    return 0
