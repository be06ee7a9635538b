"""The settings of each context block, as plain data that needs no TensorFlow."""

from typing import Any, Final, Literal

Block = Literal["gc", "snl", "se", "se_mmseg", "nl", "none"]

# Settings of each block, with the values that null in a configuration stands for. The
# layers have the same names and defaults (a test compares them).
CONTEXT_SETTINGS: dict[Block, dict[str, Any]] = {
    "gc": {
        "ratio": 0.25,
        "pooling": "att",
        "fusions": ("channel_add",),
        "transform": "bottleneck_norm",
    },
    "snl": {},
    "se": {"ratio": 1 / 16},
    "se_mmseg": {"ratio": 1 / 16},
    "nl": {
        "ratio": 0.5,
        "mode": "embedded_gaussian",
        "use_scale": True,
        "sub_sample": False,
    },
    "none": {},
}
NO_BLOCK: Final = "none"
