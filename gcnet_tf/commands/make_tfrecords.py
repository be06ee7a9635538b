r"""Converts the train and val splits of a data set to TFRecords.

python scripts/make_tfrecords.py --cfg configs/voc_r50_20k.json --download
python scripts/make_tfrecords.py --cfg my_config.json --overwrite
python scripts/make_tfrecords.py --cfg my_config.json --split val --list i.txt l.txt
python scripts/make_tfrecords.py --cfg my_config.json --runner DirectRunner \
    --direct_num_workers 2 --direct_running_mode multi_processing
"""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.config import load_config
from gcnet_tf.data.prepare import SPLITS, conversion_text, ensure_records
from gcnet_tf.data.records.manifest import has_records, read_manifest
from gcnet_tf.data.records.stored import with_local_sources
from gcnet_tf.data.sources.listing import listed_pairs
from gcnet_tf.data.sources.official import download_dataset


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    add = parser.add_argument
    add(
        "--overwrite", action="store_true", help="convert again where there are records"
    )
    add("--download", action="store_true", help="download voc12aug or ade20k first")
    add(
        "--split",
        metavar="NAME",
        help="convert only this split; default: train and val",
    )
    add(
        "--list",
        nargs=2,
        type=Path,
        metavar=("IMAGES", "LABELS"),
        help="two text files with a path per line, relative to the file; needs --split",
    )
    add("--limit", type=int, metavar="N", help="convert only the first N of each split")
    add(
        "--allow-partial",
        action="store_true",
        help="same as --set data.allow_partial=true",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="number of threads; default: one per core",
    )
    cli.add_runner_argument(parser)
    args, engine = cli.parse_with_engine(parser, argv)
    cli.require_positive(args, "workers", "limit")
    if engine and args.workers:
        parser.error("--workers is for threads; the options of --runner say how many")
    if args.list and not args.split:
        parser.error("--list needs --split NAME, for example --split train")
    if args.split and Path(args.split).name != args.split:
        parser.error(f"--split names a folder in data.records, not {args.split}")
    if args.allow_partial:
        args.set.append("data.allow_partial=true")
    config = load_config(args.cfg, args.set)
    if args.download:
        download_dataset(config.data.dataset, Path(config.data.root))
    if not args.list:
        # Copies now, so that a changed source is noticed.
        config = with_local_sources(config)

    splits = (args.split,) if args.split else SPLITS
    records = config.data.records
    kept_before = {
        split: read_manifest(records, split, check_files=False)
        for split in splits
        if has_records(records, split) and not args.overwrite
    }
    pairs = listed_pairs(*args.list) if args.list else None
    if not engine:
        cli.start_tensorflow()
    manifests = ensure_records(
        config,
        splits,
        overwrite=args.overwrite,
        num_workers=args.workers,
        convert=cli.conversion(engine),
        limit=args.limit,
        listed=pairs,
    )
    # A changed source is converted again.
    kept_splits = [s for s, kept in kept_before.items() if kept == manifests[s]]
    print(f"\n{conversion_text(config, manifests, kept_splits)}\n\nRecords: {records}")
    if all(has_records(records, split) for split in SPLITS):
        print(f"Next:    {cli.training_command(args)}")
    return 0
