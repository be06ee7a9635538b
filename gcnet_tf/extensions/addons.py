"""Replacements for the classes of tensorflow-addons that GCNet users need.

The last tensorflow-addons, 0.23, needs TensorFlow 2.15 (addons#2807). See
docs/addons.md.
"""

from collections.abc import Iterable

_PREFIX = "Addons>"
_MODULES = (
    "tensorflow_addons",
    "gcnet_tf.extensions.addons_layers",
    "gcnet_tf.addons_layers",
)

_ONE_HOT = ", in a class of your own that makes ids one-hot, as before"

# The replacement on the current stack, by the name under Addons> or tfa.image; "" where
# there is none. A class of Keras stands in backquotes, as in `Lamb`.
REPLACEMENTS = {
    "LAMB": "`Lamb`",
    "SGDW": "`SGD` with `weight_decay`; or none, for PyTorch's SGD",
    "AdamW": "`AdamW`",
    "LazyAdam": "`Adam`; only sparse gradients differed",
    "RectifiedAdam": "`AdamW`, which lacks the rectified first steps",
    "MovingAverage": '`AdamW` or any other with `"use_ema": true`',
    "SWA": '`SGD` with `"use_ema": true`, an average that fades',
    "Lookahead": "",
    "NovoGrad": "",
    "Yogi": "",
    "AdaBelief": "",
    "COCOB": "",
    "ConditionalGradient": "",
    "ProximalAdagrad": "",
    "SigmoidFocalCrossEntropy": "`BinaryFocalCrossentropy`" + _ONE_HOT,
    "F1Score": "`F1Score`" + _ONE_HOT,
    "FBetaScore": "`FBetaScore`" + _ONE_HOT,
    "CohenKappa": "",
    "MatthewsCorrelationCoefficient": "",
    "TQDMProgressBar": "training's own progress bar, which is one of tqdm",
    "TimeStopping": "",
    "AverageModelCheckpoint": "training itself: `best.weights.h5` holds the averages",
    "GroupNormalization": "`GroupNormalization`",
    "InstanceNormalization": "`GroupNormalization` with `groups` -1",
    "SpectralNormalization": "`SpectralNormalization`",
    "WeightNormalization": "",
    "AdaptiveAveragePooling2D": "`AdaptiveAveragePooling2D`",
    "StochasticDepth": "",
    "tfa.image.random_hsv_in_yiq": "`augment.photometric_distortion`",
    "tfa.image.equalize": "`Equalization`",
    "tfa.image.sharpness": "`RandomSharpness`",
    "tfa.image.gaussian_filter2d": "`RandomGaussianBlur`",
    "tfa.image.random_cutout": "`RandomErasing`",
}

_NOTHING = "a class of your own, in a module of `custom_imports`"


def is_addons(class_name: str) -> bool:
    """Tells whether a name is one that tensorflow-addons registers."""
    return class_name.startswith(_PREFIX)


def needs_addons(module: str) -> bool:
    """Tells whether a module cannot be imported without tensorflow-addons."""
    return module.split(".")[0] == _MODULES[0] or module in _MODULES


def advice(class_names: Iterable[str]) -> str:
    """Advises how to replace names of tensorflow-addons, on a stack without it."""
    replacements = [
        f"{name}: {REPLACEMENTS.get(name.removeprefix(_PREFIX)) or _NOTHING}"
        for name in class_names
        if is_addons(name)
    ]
    text = (
        "tensorflow-addons needs TensorFlow 2.15. Either install the stack that has "
        'both, with Python 3.11: pip install -c constraints-addons.txt -e ".[addons]" '
        "(docs/addons.md); or name a replacement here"
    )
    return f"{text}: {'; '.join(replacements)}." if replacements else f"{text}."


def table() -> str:
    """Formats `REPLACEMENTS` as a Markdown table."""
    lines = ["| tensorflow-addons | on the current stack |", "|---|---|"]
    for name, replacement in REPLACEMENTS.items():
        prefix = "" if "." in name else _PREFIX
        lines.append(f"| `{prefix}{name}` | {replacement or _NOTHING} |")
    return "\n".join(lines)
