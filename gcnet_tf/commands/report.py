"""Writes a page about a model, or several side by side, that opens in any browser.

python scripts/report.py --model runs/shapes_r18 --out report.html
python scripts/report.py --model runs/voc_r50_20k exports/voc/model_int8.tflite
    --out report.html
python scripts/report.py --model runs/voc_r50_20k --exports exports/voc
    --out report.html
python scripts/report.py --model runs/shapes_r18 --image photos/ --out report.html

The page is one file without scripts and needs no network. Missing records are made only
with --set data.root=IMAGES data.records=DIR.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.predictions import find_images
from gcnet_tf.files.results import require_place

if TYPE_CHECKING:  # so that wrong input is found before TensorFlow starts
    from gcnet_tf.report.subjects import Subject


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="RUN_OR_FILE",
        help="a run folder, an exported model, or with --cfg a .weights.h5 or .keras "
        "file; of several, the first one is compared with the others",
    )
    cli.add_config_arguments(parser, required=False)
    cli.add_imports_argument(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--split", default="val", help="split to evaluate; default: val"
    )
    source.add_argument(
        "--image",
        metavar="FILE_OR_FOLDER",
        help="images without a truth, in place of a split",
    )
    parser.add_argument(
        "--exports",
        metavar="DIR",
        help="folder of exported files to list; default: that of an exported --model",
    )
    parser.add_argument("--out", required=True, metavar="FILE.html", help="the page")
    parser.add_argument(
        "--track",
        action="store_true",
        help="send the page to the trackers (MLflow, WandB) of the first --model",
    )
    parser.takes_addresses("model", "image")
    args = parser.parse_args(argv)
    out = Path(args.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out: received {out}; it must end in .html.")
    require_place(out)
    cli.fetch_inputs(args, "model", "image")
    paths = find_images(Path(args.image)) if args.image is not None else []
    exports = Path(args.exports) if args.exports is not None else None
    command = cli.command_line("report", argv)

    cli.start_tensorflow()
    from gcnet_tf.report import report
    from gcnet_tf.report.subjects import load_subjects

    if args.track:
        from gcnet_tf.training.trackers.exported import add_to_trackers, trackers_of

        trackers_of(Path(args.model[0]))  # before the work
    subjects = load_subjects(args.model, args.cfg, args.set)
    cli.say_tf32()
    if paths:
        report.report_on_photos(out, subjects, paths, command, exports)
    elif reason := _missing_records(subjects, args.split, args.set):
        print(f"Nothing to evaluate: {reason}")
        report.report_without_images(out, subjects, reason, command, exports)
    else:
        report.report_on_split(out, subjects, args.split, command, exports)
    print(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
    if args.track:
        add_to_trackers(Path(args.model[0]), [out], "report")
    return 0


def _missing_records(
    subjects: Sequence["Subject"], split: str, settings: Sequence[str]
) -> str:
    """Tells why a model cannot be evaluated for want of records; "" when all can."""
    for subject in subjects:
        try:
            cli.ready_records(subject.config, split, str(subject.path), settings)
        except UserError as error:
            return str(error)
    return ""
