"""Checkpoints with two sets of weights, of which an EMA hook has kept one.

mmcv 0.x registers a copy of each parameter as a buffer of the model: ema_ and the
parameter's name, with underscores for dots. Running statistics have no copy. It swaps
the sets at the end of an epoch, before saving: then the buffers hold the weights as
trained. A run by iterations, as mmsegmentation's are, never swaps: there they hold the
averages. mmengine saves the copy as `ema_state_dict`, and swaps when it saves. The file
does not say which is which, so that only the user can tell.
"""

from collections.abc import Mapping

import numpy as np

from gcnet_tf.errors import UserError
from gcnet_tf.weights.torch.file import EMA_STATE, TorchFile

_PREFIX = "ema_"
COUNTER = "a counter of the EMA hook"
FIRST, SECOND = "the first set of weights", "a second set of weights, of an EMA hook"


def one_set(
    file: TorchFile, second: bool, source: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Chooses one of the sets of weights in a checkpoint.

    Args:
        file: the checkpoint, with one set or two.
        second: whether to take the second set, that of an EMA hook. What it lacks, such
            as running statistics, is that of the first.
        source: the name of the checkpoint in messages.

    Returns:
        The tensors by their names, and why the others are left out, by their names.

    Raises:
        UserError: when the second set is wanted, and the file has one only.
    """
    state = file.state_dict
    buffers = {_PREFIX + name.replace(".", "_"): name for name in state}
    copies: Mapping[str, np.ndarray] = {
        buffers[key]: value for key, value in state.items() if key in buffers
    }
    names = {name: key for key, name in buffers.items() if key in state}
    first = {key: value for key, value in state.items() if key not in buffers}
    if file.ema_state_dict:
        copies = {k: v for k, v in file.ema_state_dict.items() if k in first}
        names = {name: f"{EMA_STATE}.{name}" for name in file.ema_state_dict}
    if not second:
        return first, dict.fromkeys(names.values(), SECOND)
    if not copies:
        raise UserError(
            f"{source} has no second set of weights, as an EMA hook keeps it: neither "
            f"tensors named {_PREFIX}* nor {EMA_STATE}. Load it without this choice."
        )
    unknown = [key for name, key in names.items() if name not in copies]
    left_out = {**dict.fromkeys(copies, FIRST), **dict.fromkeys(unknown, COUNTER)}
    return {**first, **copies}, left_out
