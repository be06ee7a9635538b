"""Prints a configuration with every setting resolved, or describes all settings.

python scripts/show_config.py --cfg voc_r50_20k --set train.batch_size=8
python scripts/show_config.py --describe
"""

import argparse
from collections.abc import Sequence

from gcnet_tf.commands import cli
from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.config.describe import describe, json_schema, published_table
from gcnet_tf.config.json_text import format_json
from gcnet_tf.config.load import shipped_configs
from gcnet_tf.errors import UserError


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments of the command."""
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser, required=False)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument(
        "--describe", action="store_true", help="every setting: meaning, range, default"
    )
    modes.add_argument(
        "--schema", action="store_true", help="JSON Schema (configs/schema.json)"
    )
    modes.add_argument(
        "--table", action="store_true", help="published rows (configs/README.md)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(argv)
    if (args.cfg or args.set) and (args.describe or args.schema or args.table):
        raise UserError(
            "--describe, --schema and --table are about all configurations; "
            "leave out --cfg and --set."
        )
    if args.describe:
        print(describe())
    elif args.schema:
        print(format_json(json_schema()))
    elif args.table:
        rows = {name: load_config(path) for name, path in shipped_configs().items()}
        print(published_table(rows))
    elif args.cfg:
        print(format_json(config_to_dict(load_config(args.cfg, args.set))))
    else:
        raise UserError(
            "Nothing to show: give --cfg FILE (or a shipped name: "
            f"{', '.join(shipped_configs())}), --describe, --schema or --table."
        )
