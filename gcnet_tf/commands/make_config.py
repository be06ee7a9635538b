"""Recognises a folder of images and labels, and writes its configuration.

python scripts/make_config.py /data/my_export --out configs/my_data.json
python scripts/make_config.py /data/my_export --out my_data.json --layout yolo

It knows folders of images and masks in their usual arrangements, and the exports of
annotation tools; docs/data.md lists them. It says which one it sees, and why.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.data.check.layouts import LAYOUTS
from gcnet_tf.data.check.recognise import found_text, recognise, write_config
from gcnet_tf.errors import require_utf8


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    parser.add_argument("root", type=Path, help="folder of the data")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument(
        "--name",
        help="name of the folder of records; default: the data folder's, with a "
        "hash of its path",
    )
    parser.add_argument(
        "--layout",
        metavar="NAME",
        choices=LAYOUTS,
        help=f"layout of the folder, where the guess is wrong: {', '.join(LAYOUTS)}",
    )
    args = parser.parse_args(argv)
    require_utf8(args.root, "root")
    layout = recognise(args.root, args.layout)
    name = args.name or _records_name(args.root.resolve())
    write_config(layout, args.root, args.out, name)
    load_config(args.out)  # an error in it should show now, not in training
    print(found_text(layout))
    print(f"Written: {args.out}")
    print(f"Next:    {cli.command_text('make_tfrecords', ['--cfg', args.out])}")
    return 0


def _records_name(root: Path) -> str:
    """Returns a name that two folders of the same name do not share."""
    return f"{root.name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"
