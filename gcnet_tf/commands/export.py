"""Writes a trained model in all formats that run without this package.

python scripts/export.py --model runs/shapes_r18 --out exports/shapes
python scripts/export.py --model runs/shapes_r18 --out phone --format tflite
python scripts/export.py --model runs/shapes_r18 --out site --format web
"""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.errors import require_utf8
from gcnet_tf.export.plan import (
    ALL,
    PORTABLE,
    PRECISIONS,
    TARGETS,
    Checks,
    plan,
    require_for_servers,
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    names = sorted({name for group in PRECISIONS.values() for name in group})
    parser.add_argument(
        "--format",
        choices=[ALL, *PRECISIONS],
        default=ALL,
        help="default: all, which leaves out web, a page that runs in browsers",
    )
    parser.add_argument(
        "--precision", choices=[ALL, *names], default=ALL, help="default: all"
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="size of the images, such as 512x1024, or dynamic; default: dynamic where "
        "the format allows it, and for TFLite and web the size of the training crops",
    )
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default=PORTABLE,
        help="target of the fp32 SavedModel: cpu-fp32 halves the time on processors",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for all files"
    )
    parser.add_argument(
        "--logits", action="store_true", help="output logits in place of probabilities"
    )
    parser.add_argument(
        "--layout",
        choices=["nhwc", "nchw"],
        default="nhwc",
        help="layout of the ONNX file's images and values per class: nhwc, with uint8 "
        "images (default), or nchw, with float32 images",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=50,
        metavar="N",
        help="number of validation images for the accuracy; 0: no check; default: 50",
    )
    parser.add_argument(
        "--allow-drop", action="store_true", help="accept any loss of accuracy"
    )
    parser.add_argument(
        "--server",
        action="store_true",
        help="write folders for TensorFlow Serving and Triton as well",
    )
    args = parser.parse_args(argv)
    checks = Checks(args.samples, args.allow_drop)
    out = Path(args.out)
    require_utf8(out, "--out")

    cli.start_tensorflow()
    from gcnet_tf.evaluation.load import load_model
    from gcnet_tf.export.run import export

    model, config = load_model(args.cfg, args.weights, args.model, args.set)
    cli.say_tf32()
    jobs = plan(args.format, args.precision, args.size, config)
    if args.server:
        require_for_servers(jobs)
    with cli.sigterm_cleans_up():
        export(
            model,
            config,
            jobs,
            out,
            args.logits,
            args.layout,
            args.target,
            checks,
            args.server,
        )
    return 0
