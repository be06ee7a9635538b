"""Our weights' names beside mmsegmentation's, and the order of their axes.

The reference's names are the same in mmsegmentation 0.x and 1.x.
"""

import re

import numpy as np

# Ours, the reference's. What is in braces is carried over; blocks count from 0 there.
MODULES = (
    ("backbone/stem1/conv", "backbone.stem.0"),
    ("backbone/stem1/norm", "backbone.stem.1"),
    ("backbone/stem2/conv", "backbone.stem.3"),
    ("backbone/stem2/norm", "backbone.stem.4"),
    ("backbone/stem3/conv", "backbone.stem.6"),
    ("backbone/stem3/norm", "backbone.stem.7"),
    ("backbone/stage{s}_block{b}/conv{n}/conv", "backbone.layer{s}.{b}.conv{n}"),
    ("backbone/stage{s}_block{b}/conv{n}/norm", "backbone.layer{s}.{b}.bn{n}"),
    ("backbone/stage{s}_block{b}/shortcut/conv", "backbone.layer{s}.{b}.downsample.0"),
    ("backbone/stage{s}_block{b}/shortcut/norm", "backbone.layer{s}.{b}.downsample.1"),
    ("decode_head/conv_before/conv", "decode_head.convs.0.conv"),
    ("decode_head/conv_before/norm", "decode_head.convs.0.bn"),
    ("decode_head/context/mask", "decode_head.gc_block.conv_mask"),
    ("decode_head/context/{f}/reduce", "decode_head.gc_block.{f}_conv.0"),
    ("decode_head/context/{f}/norm", "decode_head.gc_block.{f}_conv.1"),
    ("decode_head/context/{f}/expand", "decode_head.gc_block.{f}_conv.3"),
    ("decode_head/conv_after/conv", "decode_head.convs.1.conv"),
    ("decode_head/conv_after/norm", "decode_head.convs.1.bn"),
    ("decode_head/conv_joined/conv", "decode_head.conv_cat.conv"),
    ("decode_head/conv_joined/norm", "decode_head.conv_cat.bn"),
    ("decode_head/classifier", "decode_head.conv_seg"),
    ("auxiliary_head/conv/conv", "auxiliary_head.convs.0.conv"),
    ("auxiliary_head/conv/norm", "auxiliary_head.convs.0.bn"),
    ("auxiliary_head/classifier", "auxiliary_head.conv_seg"),
)

LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# Entries of a checkpoint that have no place here, and why.
DROPPED = (
    (r".*\.num_batches_tracked", "a counter of batches that nothing reads"),
    (r"fc\.(weight|bias)", "ImageNet's classifier"),
)

_PATTERNS = tuple(
    (re.compile(re.sub(r"{(\w)}", r"(?P<\1>\\w+?)", ours)), theirs)
    for ours, theirs in MODULES
)


def reference_key(path: str) -> str:
    """The reference's name of a weight of ours, such as "backbone/stem1/conv/kernel".

    Raises:
        KeyError: for a path that is not a weight of ours.
    """
    module, leaf = path.rsplit("/", 1)
    for pattern, theirs in _PATTERNS:
        if match := pattern.fullmatch(module):
            parts = match.groupdict()
            if "b" in parts:
                parts["b"] = str(int(parts["b"]) - 1)
            return f"{theirs.format(**parts)}.{LEAVES[leaf]}"
    raise KeyError(path)


def reason_to_drop(key: str) -> str | None:
    """Why an entry of a checkpoint is left out; None when it must have a place."""
    for pattern, reason in DROPPED:
        if re.fullmatch(pattern, key):
            return reason
    return None


def to_ours(path: str, value: np.ndarray) -> np.ndarray:
    """A tensor of the reference as our weight `path`.

    Kernels (out, in, height, width) become (height, width, in, out); the scale and the
    shift of the context's LayerNorm lose their two axes of length 1. A tensor of a rank
    that its weight cannot have is returned as it is, for its shape to be refused.
    """
    if path.endswith("/kernel"):
        return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    if _is_context_norm(path) and value.shape[1:] == (1, 1):
        return value.reshape(-1)
    return value


def to_reference(path: str, value: np.ndarray) -> np.ndarray:
    """Our weight `path` as a tensor of the reference; undoes `to_ours`."""
    if path.endswith("/kernel"):
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    return value.reshape(-1, 1, 1) if _is_context_norm(path) else value


def is_classifier(path: str) -> bool:
    """Whether the shape of our weight `path` depends on the number of classes."""
    return "/classifier/" in path


def _is_context_norm(path: str) -> bool:
    return "/context/" in path and "/norm/" in path
