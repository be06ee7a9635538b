"""Draws the attention of a trained model's context block in an image.

python scripts/show_attention.py --model runs/camvid_r18 --image street.png --out maps
python scripts/show_attention.py --model runs/camvid_r18 --other runs/camvid_r18_nl
    --image street.png --points 100,200 350,120 --out maps

The global context block has one map for the whole image, the non-local block one for
each query. Both models get the whole image, resized as for evaluation.
"""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError
from gcnet_tf.files.results import require_place
from gcnet_tf.runtime.image_files import read_image
from gcnet_tf.visualize import attention


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument("--model", required=True, metavar="RUN", help="a run folder")
    parser.add_argument(
        "--other", metavar="RUN", help="a second run folder, to compare"
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="an image")
    parser.add_argument(
        "--points",
        nargs="+",
        metavar="X,Y",
        help="queries, in pixels to the right and down; default: the middles of the "
        "four quarters",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for NAME_attention.png"
    )
    cli.add_imports_argument(parser)
    parser.takes_addresses("model", "other", "image")
    args = parser.parse_args(argv)
    cli.fetch_inputs(args, "model", "other", "image")
    runs = {"model": args.model} | ({"other": args.other} if args.other else {})
    for name, run in runs.items():
        if not (Path(run) / "config.json").is_file():
            raise UserError(
                f"--{name}: {run} is not a run folder, which scripts/train.py makes "
                "and which has a config.json."
            )
    if not Path(args.image).is_file():
        raise UserError(f"--image: there is no file {args.image}.")
    image = read_image(Path(args.image))
    size = image.shape[:2]
    points = attention.spread_points(size)
    if args.points:
        points = attention.parse_points(args.points, size)
    path = Path(args.out) / f"{Path(args.image).stem}_attention.png"
    require_place(path)

    cli.start_tensorflow()
    from gcnet_tf.evaluation.load import load_model

    maps = []
    for run in runs.values():
        model, config = load_model(None, None, run, [])
        name = "/".join(Path(run).resolve().parts[-2:])
        maps += attention.attention_maps(name, model, config, image, points)
    attention.draw(path, image, points, maps)
    print(f"Wrote {path}")
    return 0
