"""Writes a model's weights under mmsegmentation's names, to compare the two.

python scripts/export_mmseg.py --model runs/voc_r50_20k --out voc.npz

Then, in PyTorch:

state = {key: torch.from_numpy(value) for key, value in np.load("voc.npz").items()}
model.load_state_dict(state)
"""

from collections.abc import Sequence
from pathlib import Path

from gcnet_tf.commands import cli
from gcnet_tf.errors import UserError
from gcnet_tf.files.results import require_place


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.script_parser(__doc__)
    cli.add_model_arguments(parser)
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the new .npz file"
    )
    args = parser.parse_args(argv)
    out = Path(args.out)
    if out.suffix != ".npz":
        raise UserError(f"--out is a file named *.npz. Received: {out}")
    require_place(out)

    cli.start_tensorflow()
    from gcnet_tf.evaluation.load import load_model
    from gcnet_tf.weights.export_mmseg import export_mmseg

    model, _ = load_model(args.cfg, args.weights, args.model, args.set)
    num_tensors = export_mmseg(model, out)
    print(f"Wrote {num_tensors} tensors to {out}")
    return 0
