"""Readers of the golden files, and of the weights that belong to them."""

from pathlib import Path

import numpy as np
from drawn import checksum, draw_tensor

from gcnet_tf.weights.files import weights_by_path
from gcnet_tf.weights.mmseg_names import reference_key, to_ours, to_reference

FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, np.ndarray]:
    """Reads the arrays of a golden file."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def drawn_weights(shapes, seed: int, expected_checksum: float) -> dict[str, np.ndarray]:
    """Draws the weights of the reference again, and returns them by our paths.

    Args:
        shapes: shapes by our paths in the whole model.
        seed: see `drawn.draw_tensor`.
        expected_checksum: checksum of these values in the golden file.
    """
    drawn = {}
    for path, shape in shapes.items():
        key = reference_key(path)
        drawn[path] = draw_tensor(key, to_reference(path, np.zeros(shape)).shape, seed)
    check_drawn(drawn.values(), expected_checksum)
    return {path: to_ours(path, value) for path, value in drawn.items()}


def set_drawn_weights(layer, prefix: str, seed: int, expected_checksum: float) -> None:
    """Assigns `drawn_weights` to a layer that is a part of the whole model.

    Args:
        layer: a built layer.
        prefix: path of the layer in the whole model, such as "backbone".
        seed, expected_checksum: see `drawn_weights`.
    """
    weights = {
        f"{prefix}/{path}": weight for path, weight in weights_by_path(layer).items()
    }
    shapes = {path: tuple(weight.shape) for path, weight in weights.items()}
    for path, value in drawn_weights(shapes, seed, expected_checksum).items():
        weights[path].assign(value)


def check_drawn(values, expected: float) -> None:
    """Fails when numpy draws other numbers than it did for the golden files."""
    np.testing.assert_allclose(
        checksum(values),
        expected,
        rtol=1e-9,
        err_msg="numpy drew other inputs than the golden file's; make it anew",
    )
