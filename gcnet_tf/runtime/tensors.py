"""The check that a file's inputs and outputs are those that its manifest describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.errors import UserError
from gcnet_tf.runtime.manifest import LABELS, ExportManifest

# A side is None where it is known only when the model runs.
Shape = tuple[int | None, ...]


class Tensor(NamedTuple):
    """An input or output, as an interpreter describes it; `dtype` is numpy's name."""

    dtype: str
    shape: Shape


def check_tensors(
    model: Path,
    manifest: ExportManifest,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
) -> None:
    """Checks names, types and shapes, and the number of classes of outputs.

    Raises:
        UserError: when a tensor differs; the message names the first one.
    """
    info = manifest.input
    expected = Tensor(info.dtype, _input_shape(manifest))
    if list(inputs) != [info.name] or inputs[info.name] != expected:
        raise _mismatch(model, "inputs", inputs, {info.name: expected})
    for kind, info in manifest.outputs.items():
        shape = output_shape(manifest, kind)
        if info.layout == "nchw":
            shape = (shape[0], shape[3], *shape[1:3])
        expected = Tensor(info.dtype, shape)
        output = outputs.get(info.name)
        if output is None or not _fits(output, expected):
            received = outputs if output is None else {info.name: output}
            raise _mismatch(model, "outputs", received, {info.name: expected})


def output_shape(
    manifest: ExportManifest, kind: str, size: tuple[int, int] | None = None
) -> Shape:
    """Returns an output's shape for images of `size`, by default the manifest's.

    It is that of the layout "nhwc", or "nhw" for labels.
    """
    shape = (manifest.batch, *(size or manifest.size or (None, None)))
    return shape if kind == LABELS else (*shape, len(manifest.classes))


def _input_shape(manifest: ExportManifest) -> Shape:
    size = manifest.size or (None, None)
    if manifest.input.layout == "nchw":
        return manifest.batch, 3, *size
    return manifest.batch, *size, 3


def _fits(actual: Tensor, expected: Tensor) -> bool:
    """Tells whether an output is as expected; some sides are unknown before a run."""
    return (
        actual.dtype == expected.dtype
        and len(actual.shape) == len(expected.shape)
        and all(
            side is None or side == expected_side
            for side, expected_side in zip(actual.shape, expected.shape)
        )
    )


def _mismatch(
    model: Path,
    tensor_role: str,
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> UserError:
    return UserError(
        f"{model} does not fit its manifest: its {tensor_role} are {_shown(actual)}, "
        f"and the manifest says {_shown(expected)}. Export the model again with "
        "scripts/export.py."
    )


def _shown(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(
        f"{name} {tensor.dtype} "
        f"[{', '.join('any' if side is None else str(side) for side in tensor.shape)}]"
        for name, tensor in tensors.items()
    )
