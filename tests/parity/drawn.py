"""Weights, images and labels that are drawn from names, the same on every machine.

Both sides of a parity check use this file: the reference's scripts (with PyTorch) and
our tests (without it). A value depends only on its name, shape and seed, never on other
values that were drawn. Needs numpy only.
"""

import re
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

# Norms at the end of a residual branch. In a bottleneck bn2 is not the last one, but
# its scale may be small as well, so that the name alone decides.
_BRANCH_END = re.compile(r"layer\d+\.\d+\.bn[23]\.weight$")

# Chosen so that the small model of tests/golden/segmentor.npz predicts several classes.
_DEAL = 4


def draw_tensor(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draws an entry of a state dict; activations keep a reasonable range.

    Args:
        key: the reference's name, as in "backbone.layer1.0.conv1.weight".
        shape: the reference's shape; convolutions are (out, in, height, width).
        seed: not negative.

    Returns:
        float64 of that shape: convolutions N(0, 2 / fan_in); norms U(0.5, 1.5), at the
        end of residual branches U(0.2, 0.5), so that 33 units do not blow up; biases
        and running means N(0, 0.1^2); running variances U(0.5, 1.5); batch counters 0.
    """
    generator = _generator(key, seed)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape)
    if key.endswith("running_var"):
        return 0.5 + generator.random(shape)
    if key.endswith((".bias", "running_mean")):
        return 0.1 * generator.standard_normal(shape)
    if len(shape) == 4:
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        return scale * generator.standard_normal(shape)
    if _BRANCH_END.search(key):
        return 0.2 + 0.3 * generator.random(shape)
    return 0.5 + generator.random(shape)


def draw_state(
    shapes: Mapping[str, tuple[int, ...]], seed: int
) -> dict[str, np.ndarray]:
    """Draws a state dict with `draw_tensor`."""
    return {key: draw_tensor(key, shape, seed) for key, shape in shapes.items()}


def draw_normal(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draws standard normal float64 values: features, logits, weightings."""
    return _generator(name, seed).standard_normal(shape)


def draw_image(seed: int, height: int, width: int) -> np.ndarray:
    """Draws an image with structure and noise; uint8 RGB (height, width, 3).

    All arithmetic is in integers, so that no machine rounds differently.
    """
    generator = _generator("image", seed)
    step = 8
    coarse = generator.integers(
        0, 256, (height // step + 2, width // step + 2, 3), dtype=np.int64
    )
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    top, left = rows // step, columns // step
    down, right = (rows % step)[..., None], (columns % step)[..., None]
    above = coarse[top, left] * (step - right) + coarse[top, left + 1] * right
    below = coarse[top + 1, left] * (step - right) + coarse[top + 1, left + 1] * right
    smooth = (above * (step - down) + below * down) // step**2
    noise = generator.integers(-24, 25, (height, width, 3), dtype=np.int64)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def draw_label(seed: int, height: int, width: int, num_classes: int) -> np.ndarray:
    """Draws blocks of classes and of 255, which always occurs; uint8 (h, w)."""
    step = 7
    blocks = _generator("label", seed).integers(
        0, num_classes + 1, (-(-height // step), -(-width // step)), dtype=np.int64
    )
    blocks[blocks == num_classes] = 255
    blocks[-1, -1] = 255
    label = np.repeat(np.repeat(blocks, step, axis=0), step, axis=1)
    return label[:height, :width].astype(np.uint8)


def checksum(arrays: Iterable[np.ndarray]) -> float:
    """Returns one number for many arrays in any order, to compare to 1e-9 relatively.

    When it differs from the stored one, numpy draws other numbers than it did for the
    golden files; the model is not the reason. It is a sum and no hash, because the last
    bit of a normal number may depend on the machine's logarithm.
    """
    total = 0.0
    for array in arrays:
        values = np.asarray(array, np.float64).ravel()
        factors = 1 + np.arange(values.size) % 97
        # Values are shifted and squared, so that they cannot cancel.
        total += float(np.sum(factors * (values + 3.0) ** 2))
    return total


def state_checksum(state: Mapping[str, np.ndarray]) -> float:
    """Returns the checksum of a state dict, which ignores order and batch counters."""
    keys = sorted(key for key in state if not key.endswith("num_batches_tracked"))
    return checksum(state[key] for key in keys)


def _generator(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([_DEAL, seed, zlib.crc32(name.encode())])
