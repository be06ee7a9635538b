"""Segments images or a video: index PNGs, and coloured overlays with a legend.

python scripts/predict.py --model runs/shapes_r18 --image photo.jpg --out predictions
python scripts/predict.py --model model_int8.tflite --image folder/ --out predictions
python scripts/predict.py --model runs/city --image test/ --out ids --format cityscapes
python scripts/predict.py --model model_int8.tflite --video drive.mp4 --out predictions
python scripts/predict.py --model runs/city --image test/ --out i --runner DirectRunner
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation import predictions, submission
from gcnet_tf.evaluation.load import model_hash
from gcnet_tf.evaluation.prediction_files import model_record
from gcnet_tf.visualize.video import check_video, segment_video


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    cli.add_mode_argument(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--image",
        metavar="FILE_OR_FOLDER",
        help="image to segment, or folder, with its sub-folders",
    )
    source.add_argument(
        "--video",
        metavar="FILE_OR_CAMERA",
        help="a video, or the number of a camera (the first one is 0)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for NAME.png (class ids, an 8-bit grey image) and "
        "NAME_overlay.png, or for a video NAME_overlay.mp4",
    )
    parser.add_argument(
        "--format",
        choices=submission.FORMATS,
        default="ids",
        help="ids: our class ids, with overlays (default); cityscapes, ade20k: only "
        "NAME.png, with the ids that the test server takes",
    )
    parser.add_argument(
        "--zip", metavar="FILE.zip", help="pack the NAME.png files into this archive"
    )
    parser.takes_addresses("image")
    cli.add_runner_argument(parser)
    args, engine = cli.parse_with_engine(parser, argv)
    if engine and (args.video is not None or args.zip):
        raise UserError("--runner: leave out --video and --zip, or --runner.")
    cli.fetch_inputs(args, "model", "weights", "image")
    out = Path(args.out)
    if args.video is not None:
        if args.format != "ids" or args.zip:
            raise UserError(
                "--video: leave out --format and --zip, which go with --image."
            )
        check_video(args.video, out)
        predictor, _ = cli.load_predictor(args)
        segment_video(args.video, out, predictor.labels, predictor.palette)
        return 0
    if engine:
        return _by_engine(engine, args)
    tasks = predictions.plan(Path(args.image), out, args.format)
    files = [task.ids for task in tasks]
    if args.zip:
        submission.check_zip(Path(args.zip), files)

    predictor, config = cli.load_predictor(args)
    submission.check_format(args.format, config.data.dataset)
    model = model_record(model_hash(args.weights, args.model), predictor, config)
    outcome = predictions.write_predictions(predictor, tasks, model, args.format)
    _report(outcome, out)
    if args.zip:
        submission.write_zip(Path(args.zip), files)
        print(f"Packed them into {args.zip}")
    return 0


def _by_engine(engine: cli.Engine, args: argparse.Namespace) -> int:
    """Predicts by an engine of Beam, whose workers load the model themselves."""
    predictor, config = cli.load_predictor(args)
    submission.check_format(args.format, config.data.dataset)
    # Imported here, because Beam is an extra.
    from gcnet_tf.beam.predict import LINES, Job, write_predictions_by

    job = Job(
        Path(args.image).resolve(),
        Path(args.out).resolve(),
        args.format,
        model_record(model_hash(args.weights, args.model), predictor, config),
        (args.cfg, args.weights, args.model, args.set, args.mode),
    )
    del predictor
    counts = write_predictions_by(engine, job)
    out = Path(args.out)
    present, failures = counts["num_present"], counts["num_failures"]
    shown = f"; {present} were there already" if present else ""
    print(f"Wrote {counts['num_written']} prediction(s) to {out}{shown}", flush=True)
    print(f"A line about each image: {out / LINES}", flush=True)
    if failures:
        raise UserError(
            f"{failures} image(s) could not be segmented; their lines in {out / LINES} "
            "say why. Replace them or move them away, and run the command again, which "
            f"does only what is missing. The first one: {counts['failures'][0][1]}"
        )
    return 0


def _report(outcome: predictions.Outcome, out: Path) -> None:
    """Prints how many predictions there are, and refuses to go on without some.

    Raises:
        UserError: when images could not be segmented; it names them.
    """
    present = (
        f"; {outcome.num_present} were there already" if outcome.num_present else ""
    )
    print(f"Wrote {outcome.num_written} prediction(s) to {out}{present}", flush=True)
    if outcome.failures:
        lines = "\n".join(outcome.failures)
        raise UserError(
            f"{len(outcome.failures)} image(s) could not be segmented. Replace them or "
            "move them away, and run the command again, which does only what is "
            f"missing:\n{lines}"
        )
