"""Whether a file's inputs and outputs are those that its manifest tells of."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.manifest import LABELS, ExportManifest

# None: known only when it runs.
Shape = tuple[int | None, ...]


class Tensor(NamedTuple):
    """What an interpreter says of an input or output; `dtype` as numpy calls it."""

    dtype: str
    shape: Shape


def check_tensors(
    model: Path,
    manifest: ExportManifest,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
) -> None:
    """Checks names, types and shapes; of outputs also the number of classes.

    Raises:
        UserError: naming the first one that differs.
    """
    info = manifest.input
    expected = Tensor(info.dtype, _input_shape(manifest))
    if list(inputs) != [info.name] or inputs[info.name] != expected:
        raise _mismatch(model, "inputs", inputs, {info.name: expected})
    for kind, info in manifest.outputs.items():
        expected = Tensor(info.dtype, output_shape(manifest, kind))
        found = outputs.get(info.name)
        if found is None or not _fits(found, expected):
            received = outputs if found is None else {info.name: found}
            raise _mismatch(model, "outputs", received, {info.name: expected})


def output_shape(
    manifest: ExportManifest, kind: str, size: tuple[int, int] | None = None
) -> Shape:
    """The shape of an output for images of `size`, by default those it was made for."""
    shape = (manifest.batch, *(size or manifest.size or (None, None)))
    return shape if kind == LABELS else (*shape, len(manifest.classes))


def _input_shape(manifest: ExportManifest) -> Shape:
    size = manifest.size or (None, None)
    if manifest.input.layout == "nchw":
        return manifest.batch, 3, *size
    return manifest.batch, *size, 3


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Interpreters do not always know the sides of an output before they run."""
    return (
        found.dtype == expected.dtype
        and len(found.shape) == len(expected.shape)
        and all(
            side is None or side == other
            for side, other in zip(found.shape, expected.shape)
        )
    )


def _mismatch(
    model: Path,
    what: str,
    found: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> UserError:
    return UserError(
        f"{model} does not fit its manifest: its {what} are {_shown(found)}, and the "
        f"manifest says {_shown(expected)}. Export the model again with "
        "scripts/export.py."
    )


def _shown(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(
        f"{name} {tensor.dtype} "
        f"[{', '.join('any' if side is None else str(side) for side in tensor.shape)}]"
        for name, tensor in tensors.items()
    )
