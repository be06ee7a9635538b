"""Converts a checkpoint of mmsegmentation to weights of this package.

python scripts/import_mmseg.py --cfg voc_r50_20k --download --out voc.weights.h5
python scripts/import_mmseg.py --cfg voc_r50_20k --checkpoint F.pth --out voc.weights.h5

No code inside the checkpoint is run, and every tensor is accounted for. Then:

python scripts/evaluate.py --cfg voc_r50_20k --weights voc.weights.h5
"""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.weights.files import check_weights_path
from gcnet_tf.weights.official import fetch, warn_of_hash
from gcnet_tf.weights.torch.file import read_torch_file


def main(argv: Sequence[str] | None = None) -> int:
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
        "--ema",
        action="store_true",
        help="take the second set of weights, which an EMA hook has kept in tensors "
        "named ema_* (mmcv) or in ema_state_dict (mmengine); without this flag, the "
        "set that mmsegmentation itself loads",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the new .weights.h5 file"
    )
    cli.add_imports_argument(parser)
    args = parser.parse_args(argv)
    config = load_config(args.cfg, args.set)
    out = Path(args.out)
    check_weights_path(out)
    if args.checkpoint:
        path = Path(args.checkpoint)
        warn_of_hash(path)
    elif config.published.checkpoint_url:
        path = fetch(config.published.checkpoint_url, args.allow_hash_mismatch)
    else:
        raise UserError(f"{args.cfg} names no published.checkpoint_url to download.")
    file = read_torch_file(path)

    cli.start_tensorflow()
    from gcnet_tf.weights.import_mmseg import import_weights

    account = import_weights(file, config, out, str(path), args.ema)
    print(f"{path}\n{account}\nWrote {out}")
    return 0
