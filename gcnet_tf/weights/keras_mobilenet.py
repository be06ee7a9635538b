"""Weights of `keras.applications` for the backbone of a MobileNet."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.reading import CannotRead, reading
from gcnet_tf.models import MobileNet
from gcnet_tf.weights.files import weights_by_path
from gcnet_tf.weights.hdf5_file import check_hdf5

IMAGENET = "imagenet"
SUFFIX = ".h5"

# By architecture: the network of Keras, and the widths with ImageNet weights.
_NETWORKS = {
    "mobilenet_v2": ("MobileNetV2", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "mobilenet_v3_large": ("MobileNetV3Large", (0.75, 1.0)),
    "mobilenet_v3_small": ("MobileNetV3Small", (0.75, 1.0)),
}
# The names of layers in a block, ours and Keras'; V2 writes BN for bn.
_LAYERS = {
    "expand/conv": "expand",
    "expand/norm": "expand_bn",
    "depthwise/conv": "depthwise",
    "depthwise/norm": "depthwise_bn",
    "squeeze/channel_mul/reduce": "squeeze_excite_conv",
    "squeeze/channel_mul/expand": "squeeze_excite_conv_1",
    "project/conv": "project",
    "project/norm": "project_bn",
}
# The first and the last convolution, which are in no block, and V2's names for them.
_ALONE = {"first": ("conv", "conv_bn"), "last": ("conv_1", "conv_1_bn")}
_ALONE_V2 = {"conv": "Conv1", "conv_bn": "bn_Conv1"}


def keras_weights(backbone: MobileNet, source: str) -> dict[str, np.ndarray]:
    """Returns a value from Keras' network for each weight of our backbone.

    Args:
        backbone: the built backbone.
        source: "imagenet", which Keras downloads once, or the path of an .h5 file that
            Keras' network has saved, with or without its classifier of 1000 classes.

    Returns:
        Values by our path in the backbone, such as "stem1/conv/kernel".

    Raises:
        UserError: when the weights cannot be loaded, or belong to another network or
            width.
    """
    name, widths = _NETWORKS[backbone.architecture]
    if source == IMAGENET:
        if backbone.width not in widths:
            raise UserError(
                f"model.backbone.pretrained: Keras has no ImageNet weights of {name} "
                f"at width {backbone.width:g}; allowed: model.backbone.width "
                f"{', '.join(map(str, widths))}, or null."
            )
        network = _downloaded(name, backbone.width)
    else:
        network = _from_file(name, backbone.width, Path(source))
    blocks = [layer.name for stage in backbone.stages for layer in stage]
    blocks = [*(layer.name for layer in backbone.stem), *blocks]
    theirs = _values(network)
    values = {}
    for path in weights_by_path(backbone):
        value = theirs[_normal(keras_name(path, backbone.architecture, blocks))]
        # In our depthwise kernels the filters come last.
        is_depthwise = path.endswith("depthwise/conv/kernel")
        values[path] = value.swapaxes(2, 3) if is_depthwise else value
    return values


def keras_name(path: str, architecture: str, blocks: Iterable[str]) -> str:
    """Returns Keras' name of a weight: its layer, a slash, and a name such as "kernel".

    Args:
        path: our path. "stage2_block1/expand/conv/kernel" becomes
            "expanded_conv_3_expand/kernel" in V3 and "block_3_expand/kernel" in V2.
        architecture: our architecture.
        blocks: the names of our layers, from the first to the last.
    """
    block, *inner, last = path.split("/")
    index = list(blocks).index(block) - 1
    layer = "/".join(inner)
    is_v2 = architecture == "mobilenet_v2"
    if layer in ("conv", "norm"):
        name = _ALONE["first" if index < 0 else "last"][layer == "norm"]
        return f"{_ALONE_V2[name] if is_v2 else name}/{last}"
    prefix = "block" if is_v2 and index else "expanded_conv"
    suffix = f"_{index}" if index else ""
    name = _LAYERS[layer]
    return f"{prefix}{suffix}_{re.sub('bn$', 'BN', name) if is_v2 else name}/{last}"


def _normal(name: str) -> str:
    """Normalises a name, so that it is the same in Keras 2.15 and 3."""
    name = name.lower().replace("/depthwise_kernel", "/kernel")
    return name.replace("/", "_").replace("batchnorm", "bn")


def _values(network: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of Keras' network by the normalised `keras_name`."""
    return {
        _normal(f"{layer.name}/{name}"): weight.numpy()
        for layer in network.layers
        for name, weight in weights_by_path(layer).items()
    }


def _downloaded(name: str, width: float) -> keras.Model:
    try:
        return _network(name, width, weights=IMAGENET)
    # Keras' downloader raises no narrower class.
    except Exception as error:
        raise UserError(
            f"Keras could not fetch its ImageNet weights of {name}: "
            f"{first_line(error)}. Check the network, name a file in "
            "model.backbone.pretrained, or start from random weights: --set "
            "model.backbone.pretrained=null"
        ) from error


def _from_file(name: str, width: float, path: Path) -> keras.Model:
    if not path.is_file() or path.suffix != SUFFIX:
        raise UserError(
            f"model.backbone.pretrained: received {path}; allowed: {IMAGENET}, an "
            f"existing {SUFFIX} file of keras.applications.{name}, or null."
        )
    reasons: list[Exception] = []
    for top in (False, True):
        try:
            with reading(path):
                check_hdf5(path, path.stat().st_size)
                return _network(name, width, weights=str(path), include_top=top)
        except CannotRead:
            raise
        # A damaged file can lead Keras to any exception.
        except Exception as error:
            reasons.append(error)
    # An error about the number of layers only tells that the file is the other kind.
    reason = min(reasons, key=lambda error: "Layer count" in str(error))
    raise UserError(
        f"{path} does not hold the weights of keras.applications.{name}(alpha="
        f"{width:g}): {first_line(reason)}"
    ) from reason


def _network(name: str, width: float, **arguments: Any) -> keras.Model:
    network_class = getattr(keras.applications, name)
    with warnings.catch_warnings():
        # Keras warns about weights for other input sizes, but no weight depends on it.
        warnings.simplefilter("ignore")
        return network_class(
            **{"input_shape": (224, 224, 3), "include_top": False, **arguments},
            alpha=width,
        )
