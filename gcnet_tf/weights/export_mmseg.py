"""Export of the weights under the names of mmsegmentation."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from gcnet_tf.files.results import new_result
from gcnet_tf.models import Segmentor
from gcnet_tf.weights.files import weights_by_path
from gcnet_tf.weights.mmseg_checkpoint import require_reference
from gcnet_tf.weights.mmseg_names import reference_key, to_reference


def export_mmseg(model: Segmentor, out: Path) -> int:
    """Writes all weights into an `.npz` file, in the reference's order of axes.

    mmsegmentation's `load_state_dict` accepts them in strict mode, although the file
    lacks the counters of batches, which are optional.

    Args:
        model: the model.
        out: the new file, named *.npz.

    Returns:
        The number of tensors.

    Raises:
        UserError: when the file cannot be written, or the reference does not have the
            model.
    """
    weights = weights_by_path(model)
    require_reference(weights)
    state: dict[str, Any] = {
        _key(path, model): to_reference(path, weight.numpy())
        for path, weight in weights.items()
    }
    with new_result(out) as partial:
        np.savez(partial, **state)
    return len(state)


def _key(path: str, model: Segmentor) -> str:
    """Returns the reference's name; `sub_sample` changes that of a non-local block."""
    part = "head" if path.startswith("decode_head/") else "backbone"
    context = (model.parts[part] or {}).get("context") or {}
    if context.get("sub_sample"):
        return re.sub(
            r"(_block\.(?:g|phi))\.conv\.", r"\1.0.conv.", reference_key(path)
        )
    return reference_key(path)
