"""Evaluates a model at the images' original sizes: mIoU, accuracies, a row per class.

python scripts/evaluate.py --model runs/shapes_r18
python scripts/evaluate.py --cfg configs/voc_r50_20k.json --weights W.weights.h5
python scripts/evaluate.py --model runs/voc_r50_20k --mode ms_flip
python scripts/evaluate.py --model exports/voc/model_int8.tflite

Missing records are made for a --cfg; for a --model, which may be of others, only with
--set data.root=IMAGES data.records=DIR.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.files.results import require_place, write_result


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    cli.add_mode_argument(parser)
    parser.add_argument(
        "--split", default="val", help="split to evaluate; default: val"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the metrics to this file, as unrounded fractions",
    )
    args = parser.parse_args(argv)
    cli.fetch_inputs(args, "model", "weights")

    if args.json:
        require_place(Path(args.json))

    cli.start_tensorflow()
    from gcnet_tf.data.records.pinned import pinned
    from gcnet_tf.evaluation.evaluate import evaluate
    from gcnet_tf.evaluation.metrics import format_table

    predictor, config = cli.load_predictor(args)
    cli.ready_records(config, args.split, args.model, args.set)
    with pinned(config, [args.split]) as reading:
        metrics = evaluate(predictor, reading, args.split)
    assert metrics is not None  # only training stops an evaluation
    print(format_table(metrics, predictor.classes))
    if args.json:
        results = {"split": args.split, **metrics.to_dict(predictor.classes)}
        write_result(Path(args.json), json.dumps(results, indent=2) + "\n")
    return 0
