"""Checks a data set before it is converted, and lists all its problems at once.

python scripts/check_data.py --cfg configs/my_data.json
python scripts/check_data.py --cfg configs/my_data.json --json found.json --sheet s.png

Errors are problems that conversion refuses; they end with exit code 2. Warnings are
problems that make training worse. Notes may be intended. The sheet is a picture of
labels over their images, in which every class occurs.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.data.check import report as check_report
from gcnet_tf.data.check.inspect import check_data
from gcnet_tf.data.prepare import SPLITS, ensure_source
from gcnet_tf.data.records.samples import read_label
from gcnet_tf.data.records.stored import with_local_sources
from gcnet_tf.errors import UserError
from gcnet_tf.files.results import new_result, require_place, write_result
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.visualize.pictures import contact_sheet, small_overlay


def draw_sheet(report: check_report.Report, path: Path) -> None:
    """Draws labels over their images, a tile per example, in a PNG file.

    Raises:
        UserError: when there is no readable pair, or the file cannot be written.
    """
    classes, palette = report.facts.classes, report.facts.palette
    tiles = []
    for split, pair in report.looks.examples():
        label = read_label(pair.label, pair.facts or report.facts)
        tile = small_overlay(read_image(pair.image), label, palette)
        tiles.append((f"{split}/{pair.name}", tile))
    if not tiles:
        raise UserError("There is no readable pair to draw on the sheet.")
    with new_result(path) as partial:
        contact_sheet(tiles, classes, palette).save(partial)
    print(f"Sheet:    {path}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    parser.add_argument(
        "--split", nargs="+", default=SPLITS, help="splits to check; default: train val"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write all findings to this file"
    )
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="draw the sheet in this file"
    )
    args = parser.parse_args(argv)
    if args.sheet and Path(args.sheet).suffix != ".png":
        raise UserError(f"--sheet: received {args.sheet}; it must end in .png.")
    for file in filter(None, (args.json, args.sheet)):
        require_place(Path(file))
    config = with_local_sources(load_config(args.cfg, args.set))
    ensure_source(config)

    report = check_data(config, args.split)
    print(check_report.format_report(report))
    if args.json:
        text = json.dumps(check_report.report_to_dict(report), indent=2)
        write_result(Path(args.json), text + "\n")
        print(f"Findings: {args.json}")
    if args.sheet:
        draw_sheet(report, Path(args.sheet))
    if report.kinds("error"):
        return cli.EXIT_BAD_INPUT
    print(f"Next:     {cli.training_command(args)}")
    return 0
