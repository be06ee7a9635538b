"""The table of context blocks: a word in a configuration, and its layer."""

from typing import Any, NamedTuple

import keras

from gcnet_tf.layers.convolution.conv import Policy
from gcnet_tf.layers.global_context import GlobalContextBlock
from gcnet_tf.layers.non_local import NonLocalBlock


class Row(NamedTuple):
    """A context block as a layer.

    Attributes:
        layer: its class.
        settings: the arguments that are free, with their defaults.
        fixed: the arguments that make the block what it is.
    """

    layer: type[keras.layers.Layer]
    settings: dict[str, Any]
    fixed: dict[str, Any]


NONE = "none"
# arXiv 1709.01507: the mean over positions, through a bottleneck, gates the channels.
_SQUEEZE_EXCITATION: dict[str, Any] = {
    "pooling": "avg",
    "transform": "bottleneck",
    "fusions": ("channel_mul",),
}
BLOCKS = {
    "gc": Row(
        GlobalContextBlock,
        {
            "ratio": 0.25,
            "pooling": "att",
            "fusions": ("channel_add",),
            "transform": "bottleneck_norm",
        },
        {},
    ),
    # arXiv 1904.11492, figure 4b.
    "snl": Row(GlobalContextBlock, {}, {"transform": "linear"}),
    "se": Row(GlobalContextBlock, {"ratio": 1 / 16}, _SQUEEZE_EXCITATION),
    # The form of mmsegmentation and MobileNetV3.
    "se_mmseg": Row(
        GlobalContextBlock,
        {"ratio": 1 / 16},
        {**_SQUEEZE_EXCITATION, "gate": "hard_sigmoid", "width_multiple": 8},
    ),
    "nl": Row(
        NonLocalBlock,
        {
            "ratio": 0.5,
            "mode": "embedded_gaussian",
            "use_scale": True,
            "sub_sample": False,
        },
        {},
    ),
}


def make_context(
    block: str = "gc",
    *,
    folded: bool = False,
    name: str = "context",
    dtype: Policy = None,
    **settings: Any,
) -> keras.layers.Layer | None:
    """Makes a layer from `(batch, height, width, channels)` to the same shape.

    Args:
        block: a key of `BLOCKS`, or "none", which gives no layer.
        folded: whether it is in the inference form.
        name, dtype: of the layer.
        settings: those of the block's row; those left out are its defaults.

    Raises:
        ValueError: for an unknown block, or a setting that it does not have.
    """
    if block == NONE and not settings:
        return None
    if block not in BLOCKS:
        raise ValueError(
            f"block must be one of {[*BLOCKS, NONE]} (the last one without settings). "
            f"Received: {block}, {settings}"
        )
    row = BLOCKS[block]
    if unknown := settings.keys() - row.settings.keys():
        raise ValueError(
            f"The settings of {block} are {sorted(row.settings)}. "
            f"Received: {sorted(unknown)}"
        )
    arguments = {**row.settings, **settings, **row.fixed}
    return row.layer(**arguments, folded=folded, name=name, dtype=dtype)
