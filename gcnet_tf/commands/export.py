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
from gcnet_tf.runtime.manifest import manifest_path


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
    parser.add_argument(
        "--track",
        action="store_true",
        help="send the files to the trackers (MLflow, WandB) of the run in --model",
    )
    args = parser.parse_args(argv)
    cli.fetch_inputs(args, "model", "weights")
    checks = Checks(args.samples, args.allow_drop)
    out = Path(args.out)
    require_utf8(out, "--out")

    cli.start_tensorflow()
    from gcnet_tf.evaluation.load import load_model
    from gcnet_tf.export.card.facts import metrics_of_run
    from gcnet_tf.export.run import export

    if args.track:
        from gcnet_tf.training.trackers.exported import add_to_trackers, trackers_of

        trackers_of(Path(args.model or ""))  # before the work
    model, config = load_model(args.cfg, args.weights, args.model, args.set)
    cli.say_tf32()
    jobs = plan(args.format, args.precision, args.size, config)
    if args.server:
        require_for_servers(jobs)
    with cli.sigterm_cleans_up():
        paths = export(
            model,
            config,
            jobs,
            out,
            args.logits,
            args.layout,
            args.target,
            checks,
            args.server,
            metrics_of_run(args.model),
        )
        if args.track:
            manifests = [manifest_path(path) for path in paths if path.is_file()]
            add_to_trackers(Path(args.model), [*paths, *manifests], "export")
    return 0
