"""Segments images: an index PNG and a coloured overlay with a legend for each.

python scripts/predict.py --model runs/shapes_r18 --image photo.jpg --out predictions
python scripts/predict.py --model exports/shapes --image folder/ --out predictions
"""

from pathlib import Path

from PIL import Image
from tqdm import tqdm

from gcnet_tf import cli
from gcnet_tf.data.folders import list_images
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
    args = parser.parse_args()
    images = list_images(Path(args.image))

    cli.start_tensorflow()
    from gcnet_tf.predictor import load_predictor
    from gcnet_tf.visualize import overlay, with_legend

    predictor = load_predictor(args.cfg, args.weights, args.model, args.set)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    facts = predictor.facts
    for path in tqdm(images, desc="predict", unit="img", disable=None):
        image = read_image(path)
        labels = predictor.labels(image)
        Image.fromarray(labels).save(out / f"{path.stem}.png")
        picture = overlay(image, labels, facts.palette)
        legend = with_legend(picture, labels, facts.classes, facts.palette)
        legend.save(out / f"{path.stem}_overlay.png")
    print(f"Wrote {len(images)} prediction(s) and overlay(s) to {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
