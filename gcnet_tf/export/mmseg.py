"""Export of the weights under the names of mmsegmentation."""

from pathlib import Path

import numpy as np

from gcnet_tf.atomic import new_file
from gcnet_tf.convert.mmseg_names import reference_key, to_reference
from gcnet_tf.errors import UserError
from gcnet_tf.models import Segmentor
from gcnet_tf.weights import weights_by_path


def export_mmseg(model: Segmentor, out: Path) -> int:
    """Writes every weight into an `.npz` file, in the reference's order of axes.

    mmsegmentation's `load_state_dict` takes them strictly; the counters of batches,
    which it does not miss, are not there.

    Returns:
        The number of tensors.

    Raises:
        UserError: for another suffix, or a place that cannot be written.
    """
    if out.suffix != ".npz":
        raise UserError(f"--out is a file named *.npz. Received: {out}")
    state = {
        reference_key(path): to_reference(path, weight.numpy())
        for path, weight in weights_by_path(model).items()
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_file(out) as partial:
            np.savez(partial, allow_pickle=False, **state)
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error}") from error
    return len(state)
