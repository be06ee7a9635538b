"""The names of weights and the order of their axes, ours and mmsegmentation's.

The reference's names are the same in mmsegmentation 0.x and 1.x.
"""

import re
from collections.abc import Iterable

import numpy as np

# Our names and the reference's. Values in braces are the same in both, except that the
# reference counts blocks from 0.
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
    ("decode_head/conv_after/conv", "decode_head.convs.1.conv"),
    ("decode_head/conv_after/norm", "decode_head.convs.1.bn"),
    ("decode_head/conv_joined/conv", "decode_head.conv_cat.conv"),
    ("decode_head/conv_joined/norm", "decode_head.conv_cat.bn"),
    ("decode_head/classifier", "decode_head.conv_seg"),
    ("auxiliary_head/conv/conv", "auxiliary_head.convs.0.conv"),
    ("auxiliary_head/conv/norm", "auxiliary_head.convs.0.bn"),
    ("auxiliary_head/classifier", "auxiliary_head.conv_seg"),
)

# The two context blocks that the reference has, and their places in a model.
_GC_BLOCK = (
    ("mask", "conv_mask"),
    ("channel_{f}/reduce", "channel_{f}_conv.0"),
    ("channel_{f}/norm", "channel_{f}_conv.1"),
    ("channel_{f}/expand", "channel_{f}_conv.3"),
)
_NL_BLOCK = (
    ("g", "g.conv"),
    ("theta", "theta.conv"),
    ("phi", "phi.conv"),
    ("concat", "concat_project.conv"),
    ("conv_out/conv", "conv_out.conv"),
    ("conv_out/norm", "conv_out.bn"),
)
_HEAD, _UNIT = "decode_head/context", "backbone/stage{s}_block{b}/context"
CONTEXTS = (
    (_HEAD, "decode_head.gc_block", _GC_BLOCK),
    (_HEAD, "decode_head.nl_block", _NL_BLOCK),
    (_UNIT, "backbone.layer{s}.{b}.context_block", _GC_BLOCK),
    (_UNIT, "backbone.layer{s}.{b}.nonlocal_block", _NL_BLOCK),
)

LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

# Entries of a checkpoint that are left out, and the reasons.
DROPPED = (
    (r".*\.num_batches_tracked", "a counter of batches that nothing reads"),
    (r"fc\.(weight|bias)", "ImageNet's classifier"),
)

_PATTERNS = tuple(
    (re.compile(re.sub(r"{(\w)}", r"(?P<\1>\\w+?)", ours)), theirs)
    for ours, theirs in (
        *MODULES,
        *(
            (f"{our_place}/{ours}", f"{their_place}.{theirs}")
            for our_place, their_place, block in CONTEXTS
            for ours, theirs in block
        ),
    )
)


def reference_key(path: str) -> str:
    """Returns the reference's name of our weight, as "backbone/stem1/conv/kernel".

    Raises:
        KeyError: when the reference has no such weight.
    """
    module, leaf = path.rsplit("/", 1)
    for pattern, theirs in _PATTERNS:
        if match := pattern.fullmatch(module):
            parts = match.groupdict()
            if "b" in parts:
                parts["b"] = str(int(parts["b"]) - 1)
            return f"{theirs.format(**parts)}.{LEAVES[leaf]}"
    raise KeyError(path)


def usual_key(key: str) -> str:
    """Converts a checkpoint's name to the form of `reference_key`.

    Blocks in a backbone may have a postfix, and a non-local block that halves the
    positions has its convolutions one level deeper.
    """
    key = re.sub(r"\.(context|nonlocal)_block\w+\.", r".\1_block.", key)
    return re.sub(r"(\.n\w+_block\.(?:g|phi))\.0\.", r"\1.", key)


def paths_without_reference(paths: Iterable[str]) -> list[str]:
    """Lists our weights of blocks that the reference does not have."""
    paths = set(paths)
    return sorted(path for path in paths if not _has_reference(path, paths))


def _has_reference(path: str, paths: set[str]) -> bool:
    # The reference's transforms have a normalisation. Without it, the same names belong
    # to another block.
    block, _, inner_path = path.partition("/reduce/")
    if inner_path and f"{block}/norm/gamma" not in paths:
        return False
    try:
        return bool(reference_key(path))
    except KeyError:
        return False


def reason_to_drop(key: str) -> str | None:
    """Returns why an entry of a checkpoint is left out; None for all other entries."""
    for pattern, reason in DROPPED:
        if re.fullmatch(pattern, key):
            return reason
    return None


def to_ours(path: str, value: np.ndarray) -> np.ndarray:
    """Converts a tensor of the reference to our weight `path`.

    Kernels (out, in, height, width) become (height, width, in, out); the scale and the
    shift of the context's LayerNorm lose their two axes of length 1. A tensor of a rank
    that the weight cannot have is returned unchanged, and its shape is refused later.
    """
    if path.endswith("/kernel"):
        return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
    if _is_context_norm(path) and value.shape[1:] == (1, 1):
        return value.reshape(-1)
    return value


def to_reference(path: str, value: np.ndarray) -> np.ndarray:
    """Converts our weight `path` to a tensor of the reference; undoes `to_ours`."""
    if path.endswith("/kernel"):
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    return value.reshape(-1, 1, 1) if _is_context_norm(path) else value


def is_classifier(path: str) -> bool:
    """Tells whether the shape of our weight depends on the number of classes."""
    return "/classifier/" in path


def _is_context_norm(path: str) -> bool:
    return "/context/channel_" in path and "/norm/" in path
