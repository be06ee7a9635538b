"""Segments images: an index PNG and a coloured overlay with a legend for each.

python scripts/predict.py --model runs/shapes_r18 --image photo.jpg --out predictions
python scripts/predict.py --model exports/shapes --image folder/ --out predictions
python scripts/predict.py --model runs/city --image test/ --out ids --format cityscapes
"""

from pathlib import Path

from PIL import Image
from tqdm import tqdm

from gcnet_tf import cli, submission
from gcnet_tf.data.samples import read_image


def main() -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--image", required=True, metavar="FILE_OR_FOLDER", help="what to segment"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="gets NAME.png, class ids as an 8-bit grey image, and NAME_overlay.png",
    )
    parser.add_argument(
        "--format",
        choices=submission.FORMATS,
        default="ids",
        help="ids: ours, with overlays (default); cityscapes, ade20k: NAME.png alone, "
        "with the ids that the test server takes",
    )
    parser.add_argument("--zip", metavar="FILE", help="pack the NAME.png files there")
    args = parser.parse_args()
    out = Path(args.out)
    images = submission.find_images(Path(args.image))
    submission.check_folder(out, images)

    cli.start_tensorflow()
    from gcnet_tf.predictor import load_predictor
    from gcnet_tf.visualize import overlay, with_legend

    predictor = load_predictor(args.cfg, args.weights, args.model, args.set)
    submission.check_format(args.format, predictor.facts)
    out.mkdir(parents=True, exist_ok=True)
    facts = predictor.facts
    for path in tqdm(images, desc="predict", unit="img", disable=None):
        image = read_image(path)
        labels = predictor.labels(image)
        ids = submission.server_ids(labels, args.format)
        Image.fromarray(ids).save(out / f"{path.stem}.png")
        if args.format != "ids":
            continue
        picture = overlay(image, labels, facts.palette)
        legend = with_legend(picture, labels, facts.classes, facts.palette)
        legend.save(out / f"{path.stem}_overlay.png")
    print(f"Wrote {len(images)} prediction(s) to {out}")
    if args.zip:
        submission.write_zip(
            Path(args.zip), [out / f"{path.stem}.png" for path in images]
        )
        print(f"Packed them into {args.zip}")
    return 0


if __name__ == "__main__":
    cli.run(main)
