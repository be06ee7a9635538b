"""Export of the weights under the names of mmsegmentation."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import new_file
from gcnet_tf.models import Segmentor
from gcnet_tf.weights.files import weights_by_path
from gcnet_tf.weights.mmseg_checkpoint import require_reference
from gcnet_tf.weights.mmseg_names import reference_key, to_reference


def export_mmseg(model: Segmentor, out: Path) -> int:
    """Writes every weight into an `.npz` file, in the reference's order of axes.

    mmsegmentation's `load_state_dict` takes them strictly; the counters of batches,
    which it does not miss, are not there.

    Returns:
        The number of tensors.

    Raises:
        UserError: for another suffix, a place that cannot be written, or a model that
            the reference does not have.
    """
    if out.suffix != ".npz":
        raise UserError(f"--out is a file named *.npz. Received: {out}")
    weights = weights_by_path(model)
    require_reference(weights)
    state: dict[str, Any] = {
        _key(path, model): to_reference(path, weight.numpy())
        for path, weight in weights.items()
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_file(out) as partial:
            np.savez(partial, **state)
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error}") from error
    return len(state)


def _key(path: str, model: Segmentor) -> str:
    """The reference's name, which for a non-local block depends on a setting, too."""
    part = "head" if path.startswith("decode_head/") else "backbone"
    context = (model.parts[part] or {}).get("context") or {}
    if context.get("sub_sample"):
        return re.sub(
            r"(_block\.(?:g|phi))\.conv\.", r"\1.0.conv.", reference_key(path)
        )
    return reference_key(path)
