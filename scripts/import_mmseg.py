"""Turns a checkpoint of mmsegmentation into weights of this package.

python scripts/import_mmseg.py --cfg voc_r50_20k --download --out voc.weights.h5
python scripts/import_mmseg.py --cfg voc_r50_20k --checkpoint F.pth --out voc.weights.h5

Nothing inside the checkpoint is run, and every tensor in it is accounted for. Then:

python scripts/evaluate.py --cfg voc_r50_20k --weights voc.weights.h5
"""

import warnings
from pathlib import Path

from gcnet_tf import cli
from gcnet_tf.config import Config, load_config
from gcnet_tf.convert.mmseg_checkpoint import difference_of_classes, match_segmentor
from gcnet_tf.convert.official import fetch, hash_difference
from gcnet_tf.convert.torch_file import read_torch_file
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.weights import (
    assign_weights,
    check_weights_path,
    save_weights,
    weight_shapes,
)


def parse_arguments():
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", metavar="FILE", help="a .pth file")
    source.add_argument(
        "--download",
        action="store_true",
        help="fetch the official file named in the configuration",
    )
    parser.add_argument(
        "--allow-hash-mismatch",
        action="store_true",
        help="use a download whose SHA-256 is not the one in its name",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the new .weights.h5 file"
    )
    return parser.parse_args()


def find_checkpoint(config: Config, args) -> Path:
    if not args.download:
        path = Path(args.checkpoint)
        if path.is_file() and (difference := hash_difference(path)):
            warnings.warn(
                f"{path.name} is not the file it is named after: {difference}"
            )
        return path
    url = config.published.checkpoint_url
    if url is None:
        raise UserError(f"{args.cfg} names no published.checkpoint_url to download.")
    return fetch(url, args.allow_hash_mismatch)


def main() -> int:
    args = parse_arguments()
    config = load_config(args.cfg, args.set)
    out = Path(args.out)
    check_weights_path(out)
    path = find_checkpoint(config, args)
    file = read_torch_file(path)

    cli.start_tensorflow()
    from gcnet_tf.models import build_model

    model = build_model(config)
    matched = match_segmentor(file.state_dict, weight_shapes(model), str(path))
    assign_weights(model, matched.weights)
    save_weights(model, out)
    classes = facts_of(config.data).classes
    if difference := difference_of_classes(file.meta, classes):
        warnings.warn(difference)
    print(f"{path}\n{matched.account()}\nclasses: {len(classes)}\nWrote {out}")
    return 0


if __name__ == "__main__":
    cli.run(main)
