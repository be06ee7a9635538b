"""Converts a data set's train and val split to TFRecords.

python scripts/make_tfrecords.py --cfg configs/voc_r50_20k.json
python scripts/make_tfrecords.py --cfg my_config.json --overwrite
"""

from gcnet_tf import cli
from gcnet_tf.config import load_config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.prepare import SPLITS, ensure_records
from gcnet_tf.data.record_manifest import absent_classes, has_records, pixel_table
from gcnet_tf.errors import UserError


def main() -> int:
    parser = cli.script_parser(__doc__)
    cli.add_config_arguments(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="convert again where there are records"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads; default: one per core"
    )
    args = parser.parse_args()
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers: received {args.workers}; it must be at least 1.")
    config = load_config(args.cfg, args.set)
    data = config.data
    kept = [s for s in SPLITS if has_records(data.records, s) and not args.overwrite]

    cli.start_tensorflow()
    manifests = ensure_records(
        config, overwrite=args.overwrite, num_workers=args.workers
    )

    expected = facts_of(data).num_images
    print()
    for split, manifest in manifests.items():
        number = manifest.num_samples
        line = f"{split}: {number} images in {len(manifest.shards)} files"
        if split in kept:
            line += "; they were there already, --overwrite makes them again"
        if number != expected.get(split, number):
            line += f"; the whole data set has {expected[split]} images"
        print(line)
    print(f"\n{pixel_table(list(manifests.values()))}\n")
    absent = absent_classes(manifests["train"])
    if absent:
        print(
            f"Warning: no training pixel has the class {', '.join(absent)}. Check the "
            "order of the classes; 255 in a label means not labelled.\n"
        )
    print(f"Records: {data.records}")
    print(f"Next:    {cli.training_command(args)}")
    return 0


if __name__ == "__main__":
    cli.run(main)
