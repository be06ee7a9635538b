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
from gcnet_tf.files.remote.addresses import is_remote


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run folder for checkpoints and logs, or its address, s3://… or gs://…; "
        "default: runs/<name of the config>",
    )
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    parser.takes_addresses("out")
    args = parser.parse_args(argv)
    config = load_config(args.cfg, args.set)
    place = args.out or f"runs/{Path(args.cfg).stem}"
    out = place if is_remote(place) else Path(place)

    here.search()
    cli.start_tensorflow()
    from gcnet_tf.training import Interrupted, WorkerLost, train

    try:
        run = train(config, out, resume=args.resume)
    except Interrupted as interruption:
        print(f"Stopped {interruption}; a checkpoint is saved. To go on:")
        print(f"  {cli.training_command(args, '--out', out, '--resume')}")
        return interruption.exit_code
    except WorkerLost as loss:
        print(f"Error: {loss}", file=sys.stderr)
        return cli.EXIT_WORKER_LOST
    print(f"Trained: {out}")
    print(f"Watch:   tensorboard --logdir {quoted(run / 'logs')}")
    allow = ["--allow-imports"] * here.holds_modules(config)
    print(f"Score:   {cli.command_text('evaluate', ['--model', out, *allow])}")
    page = Path("report.html") if isinstance(out, str) else out / "report.html"
    arguments = ["--model", out, "--out", page, *allow]
    print(f"Look:    {cli.command_text('report', arguments)}")
    return 0
