"""State dicts in mmsegmentation's form, for our models."""

import numpy as np
from drawn import draw_tensor

from gcnet_tf.weights.mmseg_names import reference_key, to_reference


def drawn_state(shapes, seed: int = 3) -> dict[str, np.ndarray]:
    """Draws float32 tensors by the reference's names, with the counters of batches.

    Args:
        shapes: shapes by our paths.
        seed: seed of the values.
    """
    state = {}
    for path, shape in shapes.items():
        key = reference_key(path)
        shape = to_reference(path, np.zeros(shape)).shape
        state[key] = draw_tensor(key, shape, seed).astype(np.float32)
        if key.endswith("running_var"):
            counter = key.replace("running_var", "num_batches_tracked")
            state[counter] = np.array(20000, np.int64)
    return state


def backbone_state(state) -> dict[str, np.ndarray]:
    """Returns the backbone's tensors without prefix, and ImageNet's classifier."""
    backbone = {
        key.removeprefix("backbone."): value
        for key, value in state.items()
        if key.startswith("backbone.")
    }
    classifier = {"fc.weight": np.zeros((7, 3)), "fc.bias": np.zeros(7)}
    return {**backbone, **classifier}
