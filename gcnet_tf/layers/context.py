"""The table of context blocks: a word in a configuration, and its layer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from gcnet_tf.layers.global_context import (
    GlobalContextBlock,
    SimplifiedNonLocalBlock,
    SqueezeExcitation,
)
from gcnet_tf.layers.non_local import NonLocalBlock

NONE = "none"
BLOCKS: dict[str, Callable[..., keras.layers.Layer]] = {
    "gc": GlobalContextBlock,
    "snl": SimplifiedNonLocalBlock,
    "se": SqueezeExcitation,
    "se_mmseg": partial(SqueezeExcitation, hard=True),
    "nl": NonLocalBlock,
}


def make_context(
    block: str = "gc",
    *,
    folded: bool = False,
    name: str = "context",
    dtype=None,
    **settings: Any,
) -> keras.layers.Layer | None:
    """A layer from `(batch, height, width, channels)` to the same shape.

    Args:
        block: a key of `BLOCKS`, or "none", which gives no layer.
        folded: whether it is in the inference form.
        name, dtype: of the layer.
        settings: arguments of that layer; those left out are its own defaults.

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
    return BLOCKS[block](**settings, folded=folded, name=name, dtype=dtype)
