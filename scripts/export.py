"""Writes a trained model in a form that runs without this package.

python scripts/export.py --model runs/shapes_r18 --out exports/shapes
"""

from pathlib import Path

from gcnet_tf import cli


def main() -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--format", choices=["saved_model"], default="saved_model", help="file format"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the new folder")
    args = parser.parse_args()

    cli.start_tensorflow()
    from gcnet_tf.export import FORMATS
    from gcnet_tf.predictor import load_model

    model, config = load_model(args.cfg, args.weights, args.model, args.set)
    out = Path(args.out)
    difference = FORMATS[args.format](model, config, out)
    print(f"Exported: {out}")
    print(f"Largest difference of a probability from the Keras model: {difference:.1e}")
    return 0


if __name__ == "__main__":
    cli.run(main)
